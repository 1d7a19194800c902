from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from bundler.errors import LockError
from bundler.model import lock
from bundler.model.lock import BundleLock, LockedImage, LockedPlatform, LockedWheel

DIGEST = "sha256:" + "1" * 64


def locked(name: str, version: str = "1") -> LockedWheel:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    return LockedWheel(name=name, version=version, filename=filename, size=10, sha256="0" * 64)


def a_lock(*wheels: LockedWheel, **changes: object) -> BundleLock:
    row = LockedPlatform(
        platform="linux/amd64",
        python="3.11.2",
        glibc="2.36",
        base_digest=DIGEST,
        base_packages={"libc6": "2.36-9", "bash": "5.2"},
        wheels=wheels,
    )
    image = LockedImage(reference="r.example/x:1", role="extra", digest=DIGEST, source_digest=DIGEST, size=7)
    made = BundleLock(
        tool="bundler 0",
        created=5,
        spec=DIGEST,
        repo=DIGEST,
        compressor="gz",
        requirements=("a>=1", "feast==0.61.0"),
        constraints="x",
        platforms=(row,),
        images=(image,),
    )
    return made.model_copy(update=changes)


def test_a_lock_reads_back_the_same() -> None:
    written = a_lock(locked("a"), locked("b-c", "1.0"))
    assert lock.read(written.to_text(), "bundle.lock") == written
    assert lock.read(a_lock().to_text(), "bundle.lock") == a_lock()


def test_a_lock_says_of_yanked_releases_why_and_of_others_nothing() -> None:
    made = a_lock(locked("a").model_copy(update={"yanked": "broken"}), locked("b"))
    assert lock.read(made.to_text(), "bundle.lock") == made
    assert made.to_text().count('"yanked": "broken"') == 1
    assert "yanked" not in a_lock(locked("a")).to_text()


def test_a_lock_has_one_wheel_package_image_and_requirement_a_line() -> None:
    lines = a_lock(locked("a"), locked("b")).to_text().splitlines()
    for words in ("a-1-py3-none-any.whl", "b-1-py3-none-any.whl", '"libc6"', '"r.example/x:1"', '"a>=1"'):
        assert sum(words in line for line in lines) == 1
    assert max(len(line) for line in lines) < 260


def test_a_lock_without_requirements_of_an_earlier_program_still_reads() -> None:
    text = a_lock().to_text()
    value = json.loads(text)
    del value["requirements"]
    assert lock.read(json.dumps(value), "bundle.lock").requirements == ()


def test_equal_locks_do_not_differ() -> None:
    assert lock.differences(a_lock(locked("a")), a_lock(locked("a"))) == ()


def test_two_locks_differ_by_what_moved() -> None:
    assert lock.differences(a_lock(locked("a")), a_lock(locked("a", "2"))) == (
        "- linux/amd64: a 1 (a-1-py3-none-any.whl, 000000000000)",
        "+ linux/amd64: a 2 (a-2-py3-none-any.whl, 000000000000)",
    )
    assert lock.differences(a_lock(), a_lock(requirements=("feast==0.61.0",))) == ("- requirement a>=1",)


def test_a_wheel_that_was_replaced_under_its_name_is_a_difference() -> None:
    replaced = locked("a").model_copy(update={"sha256": "f" * 64})
    minus, plus = lock.differences(a_lock(locked("a")), a_lock(replaced))
    assert (minus[0], plus[0]) == ("-", "+")
    assert "ffffffffffff" in plus


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": 2}', "[" * 100_000])
def test_what_is_no_lock_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(LockError, match=r"bundle\.lock.*bundler lock"):
        lock.read(text, "bundle.lock")


def test_a_conflict_of_two_branches_is_refused_with_its_line() -> None:
    text = a_lock(locked("a")).to_text().replace('  "tool"', '<<<<<<< ours\n  "tool"')
    with pytest.raises(LockError, match=r"bundle\.lock:3: "):
        lock.read(text, "bundle.lock")


def swap(before: str, after: str) -> Callable[[str], str]:
    return lambda text: text.replace(before, after)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            f'"base_digest": "{DIGEST}"',
            f'"base_digest": "sha256:{"2" * 64}", "base_digest": "{DIGEST}"',
            "occurs twice",
        ),
        ('"created": 5', '"created": NaN', "NaN is not a number"),
        ('"created": 5', f'"created": {"9" * 5000}', "digits"),
    ],
)
def test_a_lock_that_readers_understand_differently_is_refused(old: str, new: str, said: str) -> None:
    text = a_lock().to_text()
    assert old in text
    with pytest.raises(LockError, match=said):
        lock.read(text.replace(old, new), "bundle.lock")


@pytest.mark.parametrize(
    ("damage", "problem", "on_line"),
    [
        (swap("a-1-py3", "../../a-1-py3"), "filename", "../../a-1"),
        (swap("a-1-py3", "b-1-py3"), "is not a wheel of a 1", '"name": "a"'),
        (swap('"b"', '"a"'), "b-1-py3-none-any.whl is not a wheel of a 1", "b-1-py3"),
        (swap('"size": 10', '"size": -1'), "size", '"size": -1'),
        (swap('"size": 10', '"size": "10"'), "size", '"size": "10"'),
        (swap("0" * 64, "0" * 63), "sha256", "0" * 63),
        (swap('"size": 10', '"size": 10, "url": "https://index.example"'), "url", "https"),
        (swap('"created": 5', '"created": -5'), "created", "-5"),
        (swap('"tool"', '"tooth"'), "tool", "{"),
    ],
)
def test_a_damaged_lock_is_refused_with_line_and_place(
    damage: Callable[[str], str], problem: str, on_line: str
) -> None:
    text = a_lock(locked("a"), locked("b")).to_text()
    damaged = damage(text)
    assert damaged != text
    with pytest.raises(LockError) as caught:
        lock.read(damaged, "bundle.lock")
    told = next(line for line in caught.value.details if problem in line)
    assert on_line in damaged.splitlines()[int(told.split(":")[1]) - 1]


def test_a_wheel_or_a_platform_that_occurs_twice_is_refused() -> None:
    value = json.loads(a_lock(locked("a")).to_text())
    platforms = value["platforms"]
    for rows in (platforms[0]["wheels"], platforms, value["images"]):
        rows.append(rows[0])
        with pytest.raises(LockError) as caught:
            lock.read(json.dumps(value), "bundle.lock")
        assert "occurs 2 times" in caught.value.details[0]
        rows.pop()


def test_a_lock_with_tabs_is_refused_with_a_sentence() -> None:
    with pytest.raises(LockError, match="is not a lock"):
        lock.read('{\n\t"format": 1,\n\t"images": [{}]\n}\n', "bundle.lock")
