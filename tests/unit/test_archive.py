from __future__ import annotations

import contextlib
import errno
import io
import os
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.effects.archive import header as archive_header
from bundler.effects.archive import writer as archive_writer
from bundler.effects.archive.digests import Hashed
from bundler.effects.archive.reader import Bundle
from bundler.effects.archive.writer import NewFile
from bundler.errors import ToolFailedError, UsageError, VerificationError
from bundler.model import layout
from bundler.model.digest import Digest
from bundler.model.progress import SilentProgress
from bundler.oci import tar

CREATED = 1700000000
BLOBS = (b"first blob", b"x" * 3000, b"")


def accept(_bundle: Bundle, _hashed: Mapping[str, Hashed]) -> None:
    pass


def write(path: Path, files: dict[str, bytes], check: Callable[[Bundle, Mapping[str, Hashed]], None] = accept) -> Path:
    members = []
    for name, content in files.items():
        if name.startswith("blobs/"):
            source = path.parent / Path(name).name
            source.write_bytes(content)
            members.append(NewFile(name, len(content), source))
        else:
            members.append(NewFile.of(name, content))
    archive_writer.write(path, members, created=CREATED, check=check, progress=SilentProgress())
    return path


FILES = {
    "oci-layout": b"{}",
    "install.sh": b"#!/bin/sh\n",
    "manifests/10-a.yaml": b"a: 1\n",
    **{layout.blob(Digest.of(blob)): blob for blob in BLOBS},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "a.bundle.tar", FILES)


def test_files_are_read_back_in_place(path: Path) -> None:
    with Bundle.open(path) as bundle:
        assert {name: bundle.read(name) for name in bundle.members} == FILES
        assert list(bundle.members) == sorted(FILES, key=layout.order)
        member = bundle.blob(Digest.of(BLOBS[1]))
        assert os.pread(member.extents[0].descriptor, member.size, member.offset) == BLOBS[1]


def test_any_tar_program_reads_it_and_sees_deterministic_headers(path: Path) -> None:
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert {member.name: archive.extractfile(member).read() for member in members} == FILES  # type: ignore[union-attr]
    assert {member.mtime for member in members} == {CREATED}
    assert {(member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, "", "")}
    assert {member.name for member in members if member.mode == 0o755} == {"install.sh"}


def test_the_size_is_known_before_writing(path: Path) -> None:
    members = [NewFile(name, len(content), content) for name, content in FILES.items()]
    assert archive_writer.size(members) == path.stat().st_size


def test_the_same_files_in_another_order_make_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "b.bundle.tar", dict(reversed(FILES.items())))
    assert again.read_bytes() == path.read_bytes()


def test_metadata_is_read_without_walking_over_the_blobs(path: Path) -> None:
    with Bundle.open(path) as bundle:
        assert "sbom/none.json" not in bundle
        assert sum(name.startswith("blobs/") for name in bundle.known) <= 1


def test_a_member_can_be_sought_and_read_in_pieces(path: Path) -> None:
    with Bundle.open(path) as bundle, bundle.open_member(layout.blob(Digest.of(BLOBS[0]))) as stream:
        assert stream.read(5) == b"first"
        assert stream.seek(-4, os.SEEK_END) == 6
        assert stream.read() == b"blob"
        assert stream.seek(0) == 0
        assert stream.read() == BLOBS[0]


def test_a_file_larger_than_the_limit_is_not_read(path: Path) -> None:
    with Bundle.open(path) as bundle, pytest.raises(VerificationError, match="more than 4"):
        bundle.read("install.sh", limit=4)


def test_a_missing_file_is_named(path: Path) -> None:
    with Bundle.open(path) as bundle, pytest.raises(VerificationError, match=r"has no bundle\.json"):
        _ = bundle.manifest


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="Cannot read the bundle"):
            Bundle.open(wrong)


def test_a_bundle_that_fails_its_check_never_gets_its_name(tmp_path: Path) -> None:
    def refuse(bundle: Bundle, _hashed: Mapping[str, Hashed]) -> None:
        assert bundle.read("oci-layout") == b"{}"
        raise VerificationError("not good")

    with pytest.raises(VerificationError, match="not good"):
        write(tmp_path / "a.bundle.tar", {"oci-layout": b"{}"}, check=refuse)
    assert not list(tmp_path.glob("*bundle*"))


def test_an_older_bundle_stays_when_its_successor_fails(path: Path) -> None:
    before = path.read_bytes()
    gone = NewFile(layout.blob(Digest.of(b"gone")), 4, path.parent / "gone")
    with pytest.raises(VerificationError, match="lost"):
        archive_writer.write(path, [gone], created=0, check=accept, progress=SilentProgress())
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*"))


@pytest.mark.parametrize("found", [b"shor", b"longer than it was"])
def test_a_blob_of_another_size_is_refused(tmp_path: Path, found: bytes) -> None:
    (tmp_path / "blob").write_bytes(found)
    wrong = NewFile(layout.blob(Digest.of(b"12345678")), 8, tmp_path / "blob")
    with pytest.raises(VerificationError, match=f"has {len(found)} bytes, not 8"):
        archive_writer.write(tmp_path / "a", [wrong], created=0, check=accept, progress=SilentProgress())


def test_what_a_killed_run_left_is_removed_and_what_another_run_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / ".a.bundle.tar.dead.part").write_bytes(b"half")

    def second_run(_bundle: Bundle, _hashed: Mapping[str, Hashed]) -> None:
        write(tmp_path / "a.bundle.tar", {"oci-layout": b"second"})

    write(tmp_path / "a.bundle.tar", {"oci-layout": b"first"}, check=second_run)
    assert [found.name for found in tmp_path.iterdir()] == ["a.bundle.tar"]
    with Bundle.open(tmp_path / "a.bundle.tar") as bundle:
        assert bundle.read("oci-layout") == b"first"


def test_a_bundle_that_does_not_fit_on_the_disk_is_refused_before_it_is_written(tmp_path: Path) -> None:
    huge = NewFile(layout.blob(Digest.of(b"")), 1 << 60, tmp_path / "blob")
    with pytest.raises(ToolFailedError, match="has room for"):
        archive_writer.write(tmp_path / "a", [huge], created=0, check=accept, progress=SilentProgress())


def test_copying_falls_back_where_the_kernel_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = write(tmp_path / "a", FILES).read_bytes()

    def refuse(*_arguments: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "copy_file_range", refuse)
    assert write(tmp_path / "b", FILES).read_bytes() == expected


def test_a_disk_that_fails_at_the_end_leaves_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []

    def fail_once(descriptor: int) -> None:
        if not said:
            said.append(descriptor)  # as a kernel does: whoever asks again hears that all is well
            raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(ToolFailedError, match="Cannot write"):
        write(tmp_path / "a.bundle.tar", {"oci-layout": b"{}"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [None, 1_000_001, 512])
def test_what_was_written_is_hashed_as_it_lies_in_the_file(tmp_path: Path, size: int | None) -> None:
    content = bytes(range(256)) * (20_000 if size != 512 else 12)
    files = {"a": b"x" * 700, layout.blob(Digest.of(content)): content, layout.blob(Digest.of(b"")): b""}
    said: dict[str, Hashed] = {}

    def look(bundle: Bundle, hashed: Mapping[str, Hashed]) -> None:
        said.update(hashed)
        assert {name: bundle.read(name) for name in bundle.members} == files

    (tmp_path / "blob").write_bytes(content)
    new = [NewFile.of(name, held) for name, held in files.items() if held != content]
    new.append(NewFile(layout.blob(Digest.of(content)), len(content), tmp_path / "blob"))
    written = archive_writer.write(
        tmp_path / "a.bundle.tar", new, created=0, check=look, progress=SilentProgress(), volume_size=size
    )
    assert written.size == sum(path.stat().st_size for path in written.paths)
    assert said == {name: Hashed(Digest.of(held)) for name, held in files.items()}


def test_a_kernel_that_copies_wrongly_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, said = b"y" * 100_000, list[Hashed]()

    def wrong(_source: int, target: int, count: int, _begin: int, position: int) -> int:
        return os.pwrite(target, bytes(count), position)

    monkeypatch.setattr(os, "copy_file_range", wrong)
    path = layout.blob(Digest.of(content))
    write(tmp_path / "a.bundle.tar", {path: content}, check=lambda _, hashed: said.append(hashed[path]))
    assert said == [Hashed(Digest.of(bytes(len(content))))]


# Hostile tars: made by the standard library's writer, or by hand.


def hostile(path: Path, *members: tarfile.TarInfo, format_: int = tarfile.USTAR_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format_) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def entry(name: str, **changes: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(member, key, value)
    return member


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (entry("/etc/passwd"), "not a path"),
        (entry("../evil"), "not a path"),
        (entry("a/../../evil"), "not a path"),
        (entry("a\x1b[31m"), "not a path"),
        (entry("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link"),
        (entry("link", type=tarfile.LNKTYPE, linkname="oci-layout"), "hard link"),
        (entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "device"),
        (entry("pipe", type=tarfile.FIFOTYPE), "pipe"),
        (entry("folder", type=tarfile.DIRTYPE), "folder"),
        (entry("sparse", type=tarfile.GNUTYPE_SPARSE), "sparse"),
        (entry("a", type=b"\0"), "unknown kind"),
        (entry("a", uid=1000), "owner"),
        (entry("a", uname="root"), "owner"),
        (entry("a", mode=0o4755), "mode"),
        (entry("install.sh", mode=0o644), "mode"),
    ],
)
def test_what_no_bundle_holds_is_refused(tmp_path: Path, member: tarfile.TarInfo, said: str) -> None:
    path = hostile(tmp_path / "h.tar", member)
    with Bundle.open(path) as bundle, pytest.raises(VerificationError, match=rf"at byte 0: .*{said}"):
        assert bundle.members


@pytest.mark.parametrize(
    "extra", [{"comment": "hi"}, {"GNU.sparse.major": "1"}, {"path": "../evil"}, {"size": "9" * 30}]
)
def test_hidden_extensions_are_refused(tmp_path: Path, extra: dict[str, str]) -> None:
    path = hostile(tmp_path / "h.tar", entry("a", pax_headers=extra), format_=tarfile.PAX_FORMAT)
    with Bundle.open(path) as bundle, pytest.raises(VerificationError, match="at byte 0"):
        assert bundle.members


def raw(*names: str, content: bytes = b"") -> bytes:
    return b"".join(
        archive_header.encode(name, len(content), 0) + content + tar.padding(len(content)) for name in names
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\x1f\x8b" + bytes(600), "compressed by gzip"),
        (b"bundle.json" + bytes(600), "does not begin as a tar does"),
        (raw("a")[:100], "does not begin as a tar does"),
    ],
)
def test_what_is_something_else_altogether_is_refused_when_it_is_opened(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "x.bundle.tar"
    path.write_bytes(content)
    with pytest.raises(VerificationError, match=rf"is not a bundle: .*{said}"):
        Bundle.open(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (raw("a"), "cut off"),
        (raw("a") + bytes(512), "cut off"),
        (raw("a") + bytes(512) + raw("b"), "one block of zeros"),
        (raw("a") + tar.END + b"x", "1 bytes after the end"),
        (raw("a") + tar.END + raw("b") + tar.END, "after the end"),
        (raw("a", "a") + tar.END, "a occurs twice"),
        (raw("install.sh", "oci-layout") + tar.END, "oci-layout occurs twice or out of order"),
        (raw(layout.blob(Digest.of(b"")), "bundle.json") + tar.END, "out of order"),
        (archive_header.encode("a", 1 << 40, 0) + tar.END, "more than the file"),
        (raw("a")[:100] + b"!" + raw("a")[101:] + tar.END, "checksum"),
    ],
)
def test_a_damaged_tar_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "d.tar"
    path.write_bytes(content)
    with Bundle.open(path) as bundle, pytest.raises(VerificationError, match=said):
        assert bundle.members


def test_a_blob_of_more_than_eight_gibibytes_has_a_header_that_is_read_back() -> None:
    content = archive_header.encode(layout.blob(Digest.of(b"")), 9 << 30, CREATED)
    header = archive_header.read(lambda offset, count: content[offset : offset + count], 0)
    assert header
    assert (header.size, header.mtime, header.length) == (9 << 30, CREATED, len(content))


_NAMES = st.lists(st.from_regex(r"[A-Za-z0-9_+@][A-Za-z0-9_+@.-]{0,30}", fullmatch=True), min_size=1, max_size=7).map(
    "/".join
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(files=st.dictionaries(_NAMES, st.binary(max_size=1500), max_size=8))
def test_whatever_is_written_is_read_back(files: dict[str, bytes], tmp_path: Path) -> None:
    archive_writer.write(
        tmp_path / "x",
        [NewFile.of(name, content) for name, content in files.items()],
        created=CREATED,
        check=accept,
        progress=SilentProgress(),
    )
    with Bundle.open(tmp_path / "x") as bundle:
        assert {name: bundle.read(name) for name in bundle.members} == files
    with tarfile.open(tmp_path / "x") as archive:
        assert {member.name for member in archive} == set(files)


@settings(max_examples=300)
@given(st.binary(min_size=0, max_size=1200), st.integers(0, 2000))
def test_no_bytes_in_place_of_a_header_make_the_reader_fail_in_another_way(content: bytes, cut: int) -> None:
    whole = (raw("oci-layout", content=b"x" * 100)[: max(0, cut - 600)] + content)[:cut]
    with contextlib.suppress(ValueError):
        archive_header.read(lambda offset, count: whole[offset : offset + count], 0)
