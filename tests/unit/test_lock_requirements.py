from __future__ import annotations

from pathlib import Path

import pytest

from bundler.effects.packages.feast_release import ReleaseLock
from bundler.errors import LockError, SpecError
from bundler.model import spec_reader
from bundler.model.platform import Platform
from bundler.steps.lock import requirements
from bundler.steps.lock.requirements import Requirements
from bundler.wheels.compatibility import ImagePython

PYTHON = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "amd64"))
SPEC = """
name: demo
version: 1.0.0
feast: {version: 0.61.0}
base: {debian: bookworm}
requirements: [requirements.txt]
packages: [from-spec>=1]
registry: {host: registry.internal.example}
operator: {version: 0.61.0, preinstalled: true}
deployment: {name: demo}
"""


def read(folder: Path, text: str, *extras: str) -> Requirements:
    (folder / "requirements.txt").write_text(text)
    return requirements.read(spec_reader.read(SPEC, "bundle.yaml"), folder, extras)


def test_requirement_files_are_read_as_pip_reads_them(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/more.txt").write_text("-r other.txt\n-r ../requirements.txt\n")
    (tmp_path / "sub/other.txt").write_text("Nested==1\n")
    hashed = "first==1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    text = f"# a comment\n\n{hashed}second>=2 # why\n-r sub/more.txt\n-r none.txt\n"
    found = read(tmp_path, text, "redis", "grpcio")
    assert found.names == {"feast", "from-spec", "first", "second", "nested"}
    assert found.lines() == ("Nested==1", "feast[grpcio,redis]==0.61.0", "first==1", "from-spec>=1", "second>=2")
    assert {one.name: one.place for one in found.asked}["second"] == "requirements.txt:6"


def test_addresses_and_options_are_recorded_without_what_they_say(tmp_path: Path) -> None:
    text = "--extra-index-url https://me:s3cret@index.example/simple\nours @ https://me:s3cret@files.example/ours.whl\n"
    found = read(tmp_path, text)
    assert not [line for line in found.lines() if "s3cret" in line or "example" in line]
    assert found.index_options == ("--extra-index-url https://me:s3cret@index.example/simple",)
    assert "s3cret" not in repr(found.lines())
    rotated = read(tmp_path, text.replace("s3cret", "other"))
    assert rotated.lines() == found.lines()  # another password is no other lock
    moved = read(tmp_path, text.replace("index.example", "elsewhere.example"))
    assert moved.lines() != found.lines()


def test_lines_of_other_tools_and_systems_are_all_refused_with_what_to_write(tmp_path: Path) -> None:
    text = "a=1.0\nb=2.0=py311_0\nfine==1 # a=1\n.\\lib\nlib/\n./gone\n--pre\nc==${VERSION}\n"
    with pytest.raises(SpecError, match="Requirements cannot be read") as caught:
        read(tmp_path, text)
    expected = [
        "requirements.txt:1: 'a=1.0' is how conda lists packages. Write a==1.0",
        "requirements.txt:2: 'b=2.0=py311_0' is how conda lists packages. Write b==2.0",
        "requirements.txt:4: '.\\\\lib' is a path of Windows. Write it with / instead",
        "requirements.txt:5: 'lib/' is a folder. Write ./lib",
    ]
    assert list(caught.value.details[:4]) == expected
    assert "gone does not exist" in caught.value.details[4]


def test_a_missing_requirement_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"requirements\.txt does not exist"):
        requirements.read(spec_reader.read(SPEC, "bundle.yaml"), tmp_path, ())


def test_the_base_bounds_more_than_feasts_release_does(tmp_path: Path) -> None:
    release = ReleaseLock("Feast's own lock", {"shared": "1.0", "fastapi": "0.129.0"})
    held = {"shared": "2.0+corp", "odd": "not a version"}
    found = requirements.bounds(read(tmp_path, ""), held, release, PYTHON)
    assert found.lines == ("fastapi==0.129.0", "shared==2.0")
    assert found.source == "Feast's own lock"


def test_a_pin_of_feasts_release_gives_way_only_to_a_requirement_that_excludes_it(tmp_path: Path) -> None:
    release = ReleaseLock("Feast's own lock", {"numpy": "2.4.2", "pandas": "2.3.3", "redis": "4.0"})
    wanted = read(tmp_path, "pandas<2.3\nnumpy>=2\nredis>=5 ; sys_platform == 'win32'\n")
    found = requirements.bounds(wanted, {}, release, PYTHON)
    assert found.lines == ("numpy==2.4.2", "redis==4.0")
    assert found.source == "Feast's own lock (except pandas: requirements.txt:1)"


@pytest.mark.parametrize(
    ("text", "pinned", "line"),
    [
        ("", "25.1.0", "gunicorn<25.1"),
        ("", "26.2.0", "gunicorn==26.2.0"),
        ("gunicorn", "25.1.0", "gunicorn==25.1.0"),
    ],
)
def test_a_pin_that_makes_servers_hang_is_left_unless_it_is_asked_for(
    tmp_path: Path, text: str, pinned: str, line: str
) -> None:
    release = ReleaseLock("Feast's lock", {"gunicorn": pinned})
    found = requirements.bounds(read(tmp_path, text), {}, release, PYTHON)
    assert found.lines == (line,)
    assert ("gunicorn: 25.1.0 can hang when it starts" in found.source) == (line == "gunicorn<25.1")


def test_a_requirement_for_another_platform_contradicts_nothing(tmp_path: Path) -> None:
    wanted = read(tmp_path, "shared>=2 ; platform_machine == 'aarch64'\n")
    assert requirements.bounds(wanted, {"shared": "1.0"}, None, PYTHON).lines == ("shared==1.0",)


def test_every_contradiction_is_told_at_once(tmp_path: Path) -> None:
    wanted = read(tmp_path, "feast==0.60.0\nshared>=2\n")
    with pytest.raises(LockError) as caught:
        requirements.bounds(wanted, {"shared": "1.0", "from-spec": "0.5"}, None, PYTHON)
    assert caught.value.details == (
        "packages of the spec: from-spec>=1, but the base image holds from-spec 0.5",
        "requirements.txt:1: feast==0.60.0, but the spec says feast.version 0.61.0",
        "requirements.txt:2: shared>=2, but the base image holds shared 1.0",
    )


def test_hashes_of_a_requirement_file_are_recorded_and_hold(tmp_path: Path) -> None:
    good, other = "0" * 64, "1" * 64
    found = read(tmp_path, f"first==1 \\\n  --hash=sha256:{good}\nsecond==2\n")
    assert f"first==1 --hash=sha256:{good}" in found.lines()
    found.check_hashes({"first": good, "second": other})
    with pytest.raises(LockError, match=r"requirements\.txt:2: of first the index serves a file"):
        found.check_hashes({"first": other})


def test_a_changed_constraint_file_makes_the_lock_stale(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("evil==1.0\n")
    (tmp_path / "con.txt").write_text("-r more.txt\n")
    before = read(tmp_path, "-c con.txt\nfirst\n").lines()
    (tmp_path / "more.txt").write_text("evil==1.1\n")
    assert read(tmp_path, "-c con.txt\nfirst\n").lines() != before


def test_a_mark_of_byte_order_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert "first" in read(tmp_path, "\ufefffirst==1\n").names


def read_bytes(folder: Path, content: bytes) -> Requirements:
    (folder / "requirements.txt").write_bytes(content)
    return requirements.read(spec_reader.read(SPEC, "bundle.yaml"), folder, ())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_read_where_its_mark_says_so(tmp_path: Path, encoding: str) -> None:
    # PowerShell 5 writes `pip freeze > requirements.txt` like this; pip and uv read it.
    found = read_bytes(tmp_path, "\ufefffirst==1\r\nsecond==2\r\n".encode(encoding))
    assert {line.name: line.place for line in found.asked}["second"] == "requirements.txt:2"


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("first==1\n# caf\u00e9\n".encode("latin-1"), "byte 14, in line 2, is 0xe9"),
        ("first==1\nsecond==2\n".encode("utf-16-le"), "line 1 has the byte 0x00"),
        ("first==1\n".encode("utf-32"), "line 1 has the byte 0x00"),
        (b"\xff\xfef\0i", "not a text in UTF-16"),
        (b"first==1\n\0", "line 2 has the byte 0x00"),
    ],
)
def test_a_requirement_file_that_is_not_a_text_is_refused_with_its_line(
    tmp_path: Path, content: bytes, where: str
) -> None:
    with pytest.raises(SpecError, match=f"requirement file .*requirements.txt: .*{where}") as caught:
        read_bytes(tmp_path, content)
    assert "-Encoding utf8" in caught.value.remedy


def test_an_included_file_that_is_not_a_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_bytes(b"\xe9\n")
    with pytest.raises(SpecError, match=r"more\.txt: it is not a text in UTF-8"):
        read(tmp_path, "-r more.txt\n")
