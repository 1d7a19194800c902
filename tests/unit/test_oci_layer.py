import hashlib
import io
import tarfile
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model import media_types
from bundler.oci import tar
from bundler.oci.filetree import Directory, File, FileTree, Symlink
from bundler.oci.layer import COMPRESSOR, Layer, write_layer, writing

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=160)
_PATHS = st.lists(_TEXT.filter(lambda part: part not in {".", ".."}), min_size=1, max_size=4).map("/".join)


def _file(path: str, content: bytes = b"") -> File:
    return File(path, len(content), lambda: io.BytesIO(content))


class _Drip(io.RawIOBase):
    """Yields content a few bytes at a time, as a pipe or an archive may."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, 4099))


_IDS = st.integers(0, 1 << 40)
_MEMBERS = st.builds(
    tar.TarEntry,
    path=_PATHS,
    kind=st.sampled_from([tar.EntryKind.FILE, tar.EntryKind.DIRECTORY, tar.EntryKind.SYMLINK, tar.EntryKind.HARD_LINK]),
    mode=st.integers(0, 0o7777),
    uid=_IDS,
    gid=_IDS,
    mtime=st.integers(0, 1 << 32),
    target=_PATHS,
)


@given(_MEMBERS)
def test_any_member_is_read_back_as_it_was_written(member: tar.TarEntry) -> None:
    written = tar.header(member)
    assert len(written) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(written + tar.END)) as archive:
        (found,) = archive.getmembers()
    assert (found.name, found.linkname) == (member.path, member.target)
    assert (found.mode, found.uid, found.gid) == (member.mode, member.uid, member.gid)
    assert (found.mtime, found.type) == (member.mtime, member.kind.value)
    assert (found.uname, found.gname) == ("", "")


def test_a_file_of_more_than_eight_gibibytes_keeps_its_size() -> None:
    written = tar.header(tar.TarEntry("huge", tar.EntryKind.FILE, size=1 << 40))
    assert b"size=1099511627776\n" in written
    assert tarfile.TarInfo.frombuf(written[1024:], "utf-8", "strict").name == "huge"


def test_a_long_ascii_path_needs_no_extended_header() -> None:
    path = "opt/app-root/lib/python3.12/site-packages/" + "d" * 60 + "/" + "f" * 90
    assert len(tar.header(tar.TarEntry(path, tar.EntryKind.FILE))) == 512


def test_a_layer_is_a_tar_that_other_readers_understand() -> None:
    tree = FileTree.of(
        [
            Directory("opt", 0o775, 1001, 0),
            _file("opt/hello.txt", b"hello" * 1000),
            Symlink("opt/link", "hello.txt"),
            File("opt/ünïcode", 1, lambda: io.BytesIO(b"x"), mode=0o755),
        ]
    )
    sink = io.BytesIO()
    layer = write_layer(tree, sink, epoch=1_700_000_000, created_by="test")
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue()), mode="r:gz") as archive:
        members = archive.getmembers()
        hello = archive.extractfile("opt/hello.txt")
        assert hello is not None
        assert hello.read() == b"hello" * 1000
    assert [(m.name, m.type, m.mode, m.uid, m.mtime) for m in members] == [
        ("opt", tarfile.DIRTYPE, 0o775, 1001, 1_700_000_000),
        ("opt/hello.txt", tarfile.REGTYPE, 0o644, 0, 1_700_000_000),
        ("opt/link", tarfile.SYMTYPE, 0o777, 0, 1_700_000_000),
        ("opt/ünïcode", tarfile.REGTYPE, 0o755, 0, 1_700_000_000),
    ]
    assert layer.created_by == "test"


def test_both_digests_and_the_size_are_those_of_the_bytes() -> None:
    sink = io.BytesIO()
    layer = write_layer(FileTree.of([_file("a", bytes(3 << 20))]), sink, epoch=0, created_by="test")
    packed = sink.getvalue()
    assert layer.descriptor.media_type == media_types.OCI_LAYER_GZIP
    assert layer.descriptor.digest.hex == hashlib.sha256(packed).hexdigest()
    assert layer.descriptor.size == len(packed)
    assert layer.diff_id.hex == hashlib.sha256(zlib.decompress(packed, wbits=31)).hexdigest()


def test_the_gzip_header_names_neither_time_nor_file() -> None:
    sink = io.BytesIO()
    write_layer(FileTree.of([_file("a")]), sink, epoch=1_700_000_000, created_by="test")
    assert sink.getvalue()[:8] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("size", [0, 511, 512, 513, (1 << 20) - 512, 1 << 20, (5 << 20) + 17])
def test_bytes_do_not_depend_on_how_a_file_is_read(size: int) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    whole, dripped = io.BytesIO(), io.BytesIO()
    first = write_layer(FileTree.of([_file("a", content)]), whole, epoch=1, created_by="x")
    drip = File("a", size, lambda: _Drip(content))  # type: ignore[arg-type, return-value]  # reads are all it is for
    second = write_layer(FileTree.of([drip]), dripped, epoch=1, created_by="x")
    assert first == second
    assert whole.getvalue() == dripped.getvalue()


@pytest.mark.parametrize("size", [3, 5])
def test_a_file_of_another_size_than_announced_is_refused(size: int) -> None:
    tree = FileTree.of([File("lib/x.py", size, lambda: io.BytesIO(b"four"))])
    with pytest.raises(ValueError, match=r"'lib/x.py' is not . bytes long"):
        write_layer(tree, io.BytesIO(), epoch=0, created_by="test")


def test_a_sink_that_is_full_raises_its_own_error() -> None:
    class Full:
        def write(self, chunk: bytes | memoryview) -> int:
            raise OSError(28, f"No space left on device for {len(chunk)} bytes")

    with pytest.raises(OSError, match="No space left"):
        write_layer(FileTree.of([_file("a", bytes(8 << 20))]), Full(), epoch=0, created_by="test")


def test_a_sink_that_fills_up_half_way_raises_its_own_error() -> None:
    class FillsUp:
        def __init__(self) -> None:
            self.left = 3 << 20

        def write(self, chunk: bytes | memoryview) -> int:
            self.left -= len(chunk)
            if self.left < 0:
                raise OSError(28, "No space left on device")
            return len(chunk)

    content = hashlib.shake_128(b"seed").digest(16 << 20)
    with pytest.raises(OSError, match="No space left"):
        write_layer(FileTree.of([_file("a", content)]), FillsUp(), epoch=0, created_by="test")


def test_an_empty_tree_is_an_empty_tar() -> None:
    sink = io.BytesIO()
    write_layer(FileTree.of([]), sink, epoch=0, created_by="test")
    assert zlib.decompress(sink.getvalue(), wbits=31) == bytes(1024)


def test_memory_stays_bounded_however_large_a_file_is() -> None:
    class Zeros(io.RawIOBase):
        left = 64 << 20

        def read(self, size: int = -1) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    class Counter:
        size = 0

        def write(self, chunk: bytes | memoryview) -> int:
            self.size += len(chunk)
            return len(chunk)

    tracemalloc.start()
    try:
        tree = FileTree.of([File("a", 64 << 20, Zeros)])  # type: ignore[arg-type]  # reads are all it is for
        write_layer(tree, Counter(), epoch=0, created_by="test")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 12 << 20


def test_members_may_be_added_one_by_one_and_hard_links_stay() -> None:
    sink = io.BytesIO()
    with writing(sink, created_by="test") as writer:
        writer.add(tar.TarEntry("a", tar.EntryKind.FILE, size=1), io.BytesIO(b"x"))
        writer.add(tar.TarEntry("b", tar.EntryKind.HARD_LINK, target="a"))
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as archive:
        assert archive.getmember("b").islnk()
    assert writer.layer.descriptor.size == len(sink.getvalue())


def test_a_layer_survives_the_cache() -> None:
    layer = write_layer(FileTree.of([_file("a")]), io.BytesIO(), epoch=0, created_by="test")
    assert Layer.from_json(layer.to_json()) == layer
    with pytest.raises(ValueError, match="not the record of a layer"):
        Layer.from_json({"descriptor": 1})


def test_the_compressor_names_library_version_and_level() -> None:
    library, version, program, level = COMPRESSOR.split("-")
    assert (library, program, level) == ("isal", "igzip", "2")
    assert version[0].isdigit()
