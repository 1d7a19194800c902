"""Bundles in volumes: the same tar cut at any byte, read in place, and whichever volume is wrong is named."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bundler.cli.program import program
from bundler.effects.archive import writer as archive_writer
from bundler.effects.archive.blob_content import BundledBlob
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.writer import NewFile
from bundler.effects.blobs import BlobStore
from bundler.errors import ToolFailedError, UsageError, VerificationError
from bundler.model import layout, volumes
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.resources import verify as verifier
from bundler.steps.build import pack
from bundler.steps.build.pack import Packed
from bundler.steps.bundle import verify
from tests.unit import packed

NAME = "driver-stats-0.1.0.bundle.tar"


def cut(folder: Path, size: int) -> Packed:
    store = BlobStore(folder / "cache")
    return pack.run(packed.plan(store), folder / "volumes", store, progress=SilentProgress(), volume_size=size)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed.bundle(tmp_path_factory.mktemp("whole")).path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, whole: Path) -> Packed:
    return cut(tmp_path_factory.mktemp("made"), whole.stat().st_size // 5 + 1)


@pytest.fixture
def copied(made: Packed, tmp_path: Path) -> Path:
    """A folder of five volumes and their digests, to do damage in."""
    return Path(shutil.copytree(made.path.parent, tmp_path / "copied"))


def volume(folder: Path, number: int) -> Path:
    return folder / volumes.name(NAME, number)


@pytest.mark.parametrize("size", [1 << 40, 100_003, 9_999, 4_096 * 3])
def test_volumes_put_together_are_the_very_same_tar(whole: Path, tmp_path: Path, size: int) -> None:
    made = cut(tmp_path, size)
    contents = [path.read_bytes() for path in made.volumes]
    assert b"".join(contents) == whole.read_bytes()
    assert {len(content) for content in contents[:-1]} <= {size}
    with Bundle.open(whole) as one:
        assert made.digest == Digest.of(one.read(layout.MANIFEST))
    assert [path.name for path in made.volumes] == [
        volumes.name(NAME, number) for number in range(1, len(made.volumes) + 1)
    ]


def test_the_digests_of_the_volumes_lie_beside_them(made: Packed) -> None:
    sums = (made.path.parent / volumes.checksums(NAME)).read_text().splitlines()
    assert sums == [f"{Digest.of(path.read_bytes()).hex}  {path.name}" for path in made.volumes]
    assert {path.name for path in made.path.parent.iterdir()} == {
        volumes.checksums(NAME),
        *(path.name for path in made.volumes),
    }


def test_every_way_to_name_volumes_opens_the_same_bundle(made: Packed, whole: Path) -> None:
    folder = made.path.parent
    with Bundle.open(whole) as bundle:
        expected = {path: bundle.read(path) for path in bundle.members}
    for named in (made.path, volume(folder, 3), folder / NAME, folder):
        with Bundle.open(named) as bundle:
            assert {path: bundle.read(path) for path in bundle.members} == expected
            assert bundle.path == folder / NAME


def test_volumes_are_verified_and_a_report_says_nothing_else_than_of_one_file(made: Packed, whole: Path) -> None:
    one, several = (verify.run(path, progress=SilentProgress()) for path in (whole, made.path))
    assert not several.failed
    assert several.to_json() == one.to_json()


def test_a_blob_that_is_cut_is_read_in_place_over_all_its_volumes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "blob").write_bytes(content)
    digest = Digest.of(content)
    written = archive_writer.write(
        tmp_path / "x.bundle.tar",
        [NewFile(layout.blob(digest), len(content), tmp_path / "blob")],
        created=0,
        check=lambda *_: None,
        progress=SilentProgress(),
        volume_size=3001,
    )
    with Bundle.open(written.paths[0]) as bundle:
        blob = BundledBlob.of(bundle, digest)
        assert len(blob.extents) == 4
        assert f"at byte 512 of {written.paths[0].name} to {written.paths[3].name}" in blob.name
        read, buffer = b"", memoryview(bytearray(700))
        while count := blob.read_into(len(read), buffer):
            read += bytes(buffer[:count])
        assert read == content
        with bundle.open_member(layout.blob(digest)) as stream:
            assert stream.read() == content
            stream.seek(2900)
            assert stream.read(3500) == content[2900:6400]


# Whichever volume is wrong is named.


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_missing_volume_is_named(copied: Path, number: int) -> None:
    volume(copied, number).unlink()
    for named in (volume(copied, 2), copied):
        with pytest.raises(VerificationError, match=rf"lacks {volumes.name(NAME, number)}\."):
            Bundle.open(named)


@pytest.mark.parametrize("name", ["000", "asc", "1a2", "01\n", "\u0661\u0662\u0663"])
def test_a_file_that_a_pattern_takes_for_a_volume_is_refused(copied: Path, name: str) -> None:
    foreign = volume(copied, 1).with_name(f"{volume(copied, 1).name[:-3]}{name}")
    foreign.write_bytes(b"evil")
    with pytest.raises(VerificationError, match="are not volumes of this bundle") as refused:
        Bundle.open(copied)
    assert refused.value.details == (foreign.name,)


def test_a_volume_that_the_checksums_do_not_list_is_refused(copied: Path) -> None:
    last = max(copied.glob("*.[0-9][0-9][0-9]"))
    foreign = last.with_name(volumes.name(last.name[:-4], int(last.name[-3:]) + 1))
    foreign.write_bytes(b"evil")
    with pytest.raises(VerificationError) as refused:
        Bundle.open(copied)
    assert refused.value.details == (foreign.name,)


def test_more_volumes_than_the_limit_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    for number in range(1, volumes.MOST + 2):
        (tmp_path / volumes.name("x.bundle.tar", number)).write_bytes(b"x")
    with pytest.raises(VerificationError, match="500 is the most"):
        Bundle.open(tmp_path)


def test_a_pipe_is_not_waited_for(copied: Path, tmp_path: Path) -> None:
    volume(copied, 2).unlink()
    os.mkfifo(volume(copied, 2))
    with pytest.raises(UsageError, match="not a file"):
        Bundle.open(copied)
    os.mkfifo(tmp_path / "x.bundle.tar")
    with pytest.raises(UsageError, match="not a file"):
        Bundle.open(tmp_path / "x.bundle.tar")
    volume(copied, 2).unlink()
    sums = next(copied.glob("*.SHA256SUMS"))
    sums.unlink()
    os.mkfifo(sums)
    with pytest.raises(VerificationError, match="is not a file"):
        Bundle.open(copied)


def test_a_missing_last_volume_is_noticed_without_the_digests_too(copied: Path) -> None:
    volume(copied, 5).unlink()
    (copied / volumes.checksums(NAME)).unlink()
    with Bundle.open(copied) as bundle, pytest.raises(VerificationError) as caught:
        assert bundle.members
    assert f"Is {volumes.name(NAME, 4)} the last volume" in caught.value.remedy


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_short_volume_is_named(copied: Path, number: int) -> None:
    path = volume(copied, number)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VerificationError, match=rf"Volumes of the bundle were cut off: {path.name}\."):
        Bundle.open(copied)


def test_a_short_last_volume_is_named(copied: Path) -> None:
    path = volume(copied, 5)
    path.write_bytes(path.read_bytes()[:-600])
    with Bundle.open(copied) as bundle, pytest.raises(VerificationError, match=rf"of {path.name}: .*cut off"):
        assert bundle.members
    path.write_bytes(b"")
    with pytest.raises(VerificationError, match="which is empty"):
        Bundle.open(copied)


def test_a_damaged_volume_is_named(copied: Path) -> None:
    path = volume(copied, 4)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert f"{path.name} is damaged" in faults(copied)


def test_swapped_volumes_are_named(copied: Path) -> None:
    second, third = volume(copied, 2), volume(copied, 3)
    content = second.read_bytes()
    second.write_bytes(third.read_bytes())
    third.write_bytes(content)
    found = faults(copied)
    assert f"{second.name} is {third.name} under another name" in found
    assert f"{third.name} is {second.name} under another name" in found


def faults(folder: Path) -> list[str]:
    return [finding.title for finding in verify.run(folder, progress=SilentProgress()).findings]


@pytest.mark.parametrize("text", ["no line\n", f"{'0' * 64}  ../evil\n"])
def test_digests_of_volumes_that_are_not_as_sha256sum_writes_them_are_refused(copied: Path, text: str) -> None:
    (copied / volumes.checksums(NAME)).write_text(text)
    with pytest.raises(VerificationError, match="line 1: not as sha256sum"):
        Bundle.open(copied)


# Writing: all volumes or none, and no mixture with what was there.


def test_volumes_that_fail_their_check_never_get_their_names(tmp_path: Path) -> None:
    def refuse(bundle: Bundle, _hashed: Mapping[str, Hashed]) -> None:
        assert bundle.read("a") == b"x" * 5000
        raise VerificationError("not good")

    member = NewFile.of("a", b"x" * 5000)
    with pytest.raises(VerificationError, match="not good"):
        archive_writer.write(
            tmp_path / "a.bundle.tar", [member], created=0, check=refuse, progress=SilentProgress(), volume_size=1000
        )
    assert not list(tmp_path.iterdir())


def test_volumes_that_cannot_all_get_their_names_get_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, done = Path.replace, list[str]()

    def fail_at_the_second(path: Path, target: Path) -> Path:
        if target.name.endswith(".002"):
            raise OSError(errno.EIO, "gone")
        done.append(target.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", fail_at_the_second)
    with pytest.raises(ToolFailedError):
        archive_writer.write(
            tmp_path / "a.bundle.tar",
            [NewFile.of("a", b"x" * 5000)],
            created=0,
            check=lambda *_: None,
            progress=SilentProgress(),
            volume_size=2000,
        )
    assert done == ["a.bundle.tar.004", "a.bundle.tar.003"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("before", "after"), [(2000, None), (None, 2000), (1000, 3000), (1000, 1 << 20)])
def test_another_build_of_the_name_leaves_nothing_of_the_one_before(
    tmp_path: Path, before: int | None, after: int | None
) -> None:
    (tmp_path / "other-a.bundle.tar.001").touch()

    def write(text: bytes, size: int | None) -> None:
        archive_writer.write(
            tmp_path / "a.bundle.tar",
            [NewFile.of("a", text)],
            created=0,
            check=lambda *_: None,
            progress=SilentProgress(),
            volume_size=size,
        )

    write(b"x" * 5000, before)
    write(b"y" * 6000, after)
    (tmp_path / "other-a.bundle.tar.001").unlink()
    with Bundle.open(tmp_path) as bundle:
        assert bundle.read("a") == b"y" * 6000
    names = {path.name for path in tmp_path.iterdir()}
    count = -(-7680 // after) if after else 0
    expected = {volumes.name("a.bundle.tar", number) for number in range(1, count + 1)}
    assert names == (expected | {"a.bundle.tar.SHA256SUMS"} if after else {"a.bundle.tar"})


@pytest.mark.parametrize(
    "edit",
    [
        lambda _: b"",
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: content + b"0" * 64 + b"  another.bundle.tar\n",
        lambda content: content.replace(b".001\n", b".1\n"),
    ],
    ids=["empty", "line ends of Windows", "another file", "another name"],
)
def test_checksums_that_list_something_else_than_the_volumes_are_refused(
    copied: Path, edit: Callable[[bytes], bytes]
) -> None:
    sums = next(copied.glob("*.SHA256SUMS"))
    sums.write_bytes(edit(sums.read_bytes()))
    with pytest.raises(VerificationError, match=r"lists something else|files that have their names"):
        Bundle.open(copied)
    assert verifier.read_tar(next(copied.glob("*.001"))).faults


# Names and sizes.


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4_000_000_000),
        ("4.7GB", 4_700_000_000),
        ("4G", 4_000_000_000),
        ("650MiB", 650 << 20),
        ("2 gib", 2 << 30),
        ("100000", 100_000),
        ("5b", 5),
    ],
)
def test_sizes_are_read_as_media_are_sold(text: str, size: int) -> None:
    assert volumes.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0.1", "-4GB", "4XB", "GB", "4GB4", "1e9", "٤GB", "9" * 40])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not the size of a bundle volume"):
        volumes.parse_size(text)


def test_too_many_volumes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="500 is the most") as caught:
        cut(tmp_path, 50)
    assert not (tmp_path / "volumes").exists()
    assert "--volume-size" in caught.value.remedy


# On the command line.


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def test_the_command_line_takes_what_the_shell_makes_of_a_pattern(made: Packed) -> None:
    every = sorted(made.path.parent.iterdir())
    assert len(every) == 6
    done = run("inspect", *every, "--output", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["volumes"] == 5
    assert " in 5 volumes" in run("inspect", made.path.parent).stdout


def test_files_that_do_not_belong_together_are_refused(made: Packed, whole: Path) -> None:
    done = run("inspect", made.path, whole)
    assert isinstance(done.exception, UsageError)
    assert "not the volumes of one bundle" in str(done.exception)


def test_a_folder_of_several_bundles_is_refused_with_their_names(copied: Path, whole: Path) -> None:
    shutil.copy(whole, copied / "other.bundle.tar")
    with pytest.raises(UsageError, match=rf"has several bundles: {volumes.name(NAME, 1)}, other\.bundle\.tar"):
        Bundle.open(copied)


# Media that others have written to, or that take no long files.


def test_files_that_macos_writes_beside_others_are_not_volumes(copied: Path, whole: Path, tmp_path: Path) -> None:
    for entry in list(copied.iterdir()):
        (copied / f"._{entry.name}").write_bytes(b"\0\5\26\7" + bytes(4092))
    with Bundle.open(copied) as bundle:
        assert len(bundle.volumes.files) == 5
    stick = tmp_path / "stick"
    stick.mkdir()
    shutil.copy(whole, stick / NAME)
    (stick / f"._{NAME}").write_bytes(bytes(4096))
    with Bundle.open(stick) as bundle:
        assert bundle.manifest.name == "driver-stats"
    with pytest.raises(UsageError, match="attributes that macOS wrote") as caught:
        Bundle.open(stick / f"._{NAME}")
    assert caught.value.remedy == f"Name {stick / NAME}."


@pytest.mark.parametrize("reason", [errno.EFBIG, errno.ENOSPC, errno.EINVAL])
def test_a_file_system_that_takes_no_long_file_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def refuse(_file: int, _length: int) -> None:
        raise OSError(reason, "")

    monkeypatch.setattr(volumes, "FAT32_LIMIT", 4000)  # a file of 4 GB takes too long for a test
    monkeypatch.setattr(os, "truncate", refuse)
    with pytest.raises(ToolFailedError, match="cannot hold a file of") as caught:
        archive_writer.write(
            tmp_path / "a.bundle.tar",
            [NewFile.of("a", b"x" * 5000)],
            created=0,
            check=None,
            progress=SilentProgress(),
        )
    assert "--volume-size 4GB" in caught.value.remedy
    assert not list(tmp_path.iterdir())
