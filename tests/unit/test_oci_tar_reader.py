import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.oci import tar
from bundler.oci.tar_reader import members


def _archive(*infos: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return target.getvalue()


def _info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def _paths(content: bytes) -> list[str]:
    return [member.path for member, _ in members(io.BytesIO(content))]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_dialect_is_understood(form: int) -> None:
    long = "d" * 90 + "/" + "é" * 40
    deep = _info(long, 700) if form != tarfile.USTAR_FORMAT else _info("d" * 90 + "/" + "e" * 90, 700)
    owned = _info("./owned", 3)
    owned.uid, owned.mode, owned.mtime = (70_000 if form == tarfile.USTAR_FORMAT else 1 << 33), 0o4755, 77
    link = _info("link", kind=tarfile.SYMTYPE, target="../t" if form == tarfile.USTAR_FORMAT else "t" * 150)
    content = _archive(_info("dir/", kind=tarfile.DIRTYPE), deep, owned, link, form=form)
    found = [(member, content.read(1 << 20)) for member, content in members(io.BytesIO(content))]
    assert [member.path for member, _ in found] == ["dir", deep.name, "owned", "link"]
    assert [member.kind for member, _ in found] == [
        tar.EntryKind.DIRECTORY,
        tar.EntryKind.FILE,
        tar.EntryKind.FILE,
        tar.EntryKind.SYMLINK,
    ]
    assert (found[2][0].uid, found[2][0].mode, found[2][0].mtime) == (owned.uid, 0o4755, 77)
    assert found[3][0].target == link.linkname
    assert found[1][1] == b"x" * 700


@given(
    path=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=300).filter(
        lambda text: text not in {".", ".."}
    ),
    size=st.integers(0, 2000),
    uid=st.integers(0, 1 << 40),
)
def test_what_is_written_here_is_read_here(path: str, size: int, uid: int) -> None:
    member = tar.TarEntry(path, tar.EntryKind.FILE, 0o640, uid, 5, size, 99)
    content = tar.header(member) + b"y" * size + tar.padding(size) + tar.END
    ((found, stream),) = [(item, stream.read(4096)) for item, stream in members(io.BytesIO(content))]
    assert found == member
    assert stream == b"y" * size


def test_content_that_nobody_reads_is_skipped() -> None:
    assert _paths(_archive(_info("a", 5000), _info("b", 1), _info("c"))) == ["a", "b", "c"]


def test_pieces_may_be_cut_anywhere() -> None:
    content = _archive(_info("a", 5000), _info("b", 1))
    pieces = (content[start : start + 7] for start in range(0, len(content), 7))
    assert [member.path for member, _ in members(pieces)] == ["a", "b"]


@pytest.mark.parametrize("name", ["../etc/passwd", "a/../../etc/passwd", "/../x"])
def test_a_path_that_leaves_the_root_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="leaves its root"):
        _paths(_archive(_info(name)))


def test_a_hard_link_out_of_the_root_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves its root"):
        _paths(_archive(_info("a", kind=tarfile.LNKTYPE, target="../../etc/shadow")))


@pytest.mark.parametrize(
    ("name", "path"), [("/etc/x", "etc/x"), ("./a//b/./c", "a/b/c"), ("./", ""), ("..a/b", "..a/b")]
)
def test_paths_come_in_their_simplest_form(name: str, path: str) -> None:
    assert _paths(_archive(_info(name, kind=tarfile.DIRTYPE))) == [path]


def test_an_extended_header_without_end_is_refused_before_it_is_read() -> None:
    huge = _info("x", kind=b"x")
    header = bytearray(huge.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"77777777777\0"
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    with pytest.raises(ValueError, match="extended header of 8589934591 bytes"):
        _paths(bytes(header))


@pytest.mark.parametrize(
    "records", [b"5 a=b\n", b"99 a=b\n", b"x a=b\n", b"6 a b\n", b"6 a=bc", b"0 a=b\n", b"-6 a=b\n"]
)
def test_a_damaged_extended_header_is_refused(records: bytes) -> None:
    info = _info("x", len(records), b"x")
    content = info.tobuf(tarfile.USTAR_FORMAT) + records + tar.padding(len(records)) + _archive(_info("a"))
    with pytest.raises(ValueError, match="damaged extended header"):
        _paths(content)


def test_a_damaged_header_is_refused() -> None:
    content = bytearray(_archive(_info("a")))
    content[0] ^= 1
    with pytest.raises(ValueError, match="damaged header"):
        _paths(bytes(content))


@pytest.mark.parametrize("size", [b"-0000000010", b"0000_000010", b"00000000009", b"+0000000010", b"0x000000010"])
def test_a_size_that_is_no_octal_number_is_refused(size: bytes) -> None:
    header = bytearray(_archive(_info("a"))[:512])
    header[124:136] = size + b"\0"
    header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    with pytest.raises(ValueError, match="damaged number"):
        _paths(bytes(header))


@pytest.mark.parametrize("end", [100, 700, 1100])
def test_a_tar_that_ends_within_a_member_is_refused(end: int) -> None:
    with pytest.raises(ValueError, match="ends within a member"):
        _paths(_archive(_info("a", 5000))[:end])


def test_a_tar_without_its_closing_zeros_is_accepted() -> None:
    assert _paths(_archive(_info("a", 512))[:1024]) == ["a"]


@given(st.binary(max_size=600), st.integers(0, 511))
def test_noise_is_refused_or_read_but_never_crashes(noise: bytes, at: int) -> None:
    content = bytearray(_archive(_info("a", 10), _info("b")))
    content[at : at + len(noise)] = noise
    try:
        _paths(bytes(content))
    except ValueError:
        return
