import io
import tarfile

import pytest

from bundler.oci import rewrite
from bundler.oci.filetree import Directory, File, FileTree
from bundler.oci.layer import Layer

_PYC = b"magc\3\0\0\0hash-of-source" + b"x" * 3000


_NOTHING = FileTree()


def _tar(*members: tuple[str, bytes, bytes | str]) -> io.BytesIO:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mtime, info.uname, info.mode = kind, 1_234_567_890, "builder", 0o644
            if isinstance(content, str):
                info.linkname = content
            else:
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    target.seek(0)
    return target


def _rewrite(
    stream: io.BytesIO, without: frozenset[str] = frozenset(), additions: FileTree = _NOTHING
) -> tuple[Layer, dict[str, tuple[tarfile.TarInfo, bytes]]]:
    sink = io.BytesIO()
    layer = rewrite.rewrite(
        stream, sink, keep=lambda path: path not in without, additions=additions, epoch=1000, created_by="test"
    )
    with tarfile.open(fileobj=io.BytesIO(sink.getvalue())) as archive:
        found = {}
        for info in archive.getmembers():
            stream_of = archive.extractfile(info) if info.isreg() else None
            found[info.name] = (info, stream_of.read() if stream_of else b"")
    return layer, found


def test_what_is_not_wanted_and_every_device_is_left_out() -> None:
    stream = _tar(
        ("./", tarfile.DIRTYPE, b""),
        ("./dev/null", tarfile.CHRTYPE, b""),
        ("./etc/hostname", tarfile.REGTYPE, b"builder"),
        ("./etc/os-release", tarfile.REGTYPE, b"ID=debian"),
    )
    _, found = _rewrite(stream, frozenset({"etc/hostname"}))
    assert list(found) == ["etc/os-release"]


def test_times_and_owner_names_are_fixed_and_links_stay() -> None:
    stream = _tar(
        ("./a", tarfile.REGTYPE, b"x"), ("./b", tarfile.LNKTYPE, "./a"), ("./c", tarfile.SYMTYPE, "../outside")
    )
    _, found = _rewrite(stream)
    assert {info.mtime for info, _ in found.values()} == {1000}
    assert {info.uname for info, _ in found.values()} == {""}
    assert (found["b"][0].islnk(), found["b"][0].linkname) == (True, "a")
    assert found["c"][0].linkname == "../outside"


def test_no_program_keeps_the_right_to_run_as_root() -> None:
    stream = _tar(("su", tarfile.REGTYPE, b"x"), ("tmp", tarfile.DIRTYPE, b""))
    content = bytearray(stream.getvalue())
    for start, mode in ((0, b"0004755\0"), (1024, b"0001777\0")):
        content[start + 100 : start + 108] = mode
        header = content[start : start + 512]
        content[start + 148 : start + 156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    _, found = _rewrite(io.BytesIO(content))
    assert (found["su"][0].mode, found["tmp"][0].mode) == (0o755, 0o1777)


def test_compiled_python_no_longer_reads_its_source() -> None:
    for name, content, expected in (
        ("x.pyc", _PYC, b"magc\1\0\0\0" + _PYC[8:]),
        ("x.pyc", b"magc\0\0\0\0" + _PYC[8:], b"magc\0\0\0\0" + _PYC[8:]),
        ("x.pyc", b"mag", b"mag"),
        ("x.pyc", b"", b""),
        ("x.txt", _PYC, _PYC),
    ):
        _, found = _rewrite(_tar((name, tarfile.REGTYPE, content)))
        assert found[name][1] == expected


def test_additions_come_last_and_replace() -> None:
    additions = FileTree.of([Directory("opt", 0o775, 1001, 0), File("etc/passwd", 4, lambda: io.BytesIO(b"ours"))])
    stream = _tar(("./etc/passwd", tarfile.REGTYPE, b"theirs"), ("./usr", tarfile.DIRTYPE, b""))
    _, found = _rewrite(stream, additions=additions)
    assert list(found) == ["usr", "etc/passwd", "opt"]
    assert found["etc/passwd"][1] == b"ours"
    assert (found["opt"][0].uid, found["opt"][0].mode) == (1001, 0o775)


def test_a_hard_link_to_what_is_left_out_is_refused() -> None:
    stream = _tar(("./a", tarfile.REGTYPE, b"x"), ("./b", tarfile.LNKTYPE, "./a"))
    with pytest.raises(ValueError, match="'b' leads to 'a', which is left out"):
        _rewrite(stream, frozenset({"a"}))


def test_a_path_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' twice"):
        _rewrite(_tar(("a", tarfile.REGTYPE, b"x"), ("./a", tarfile.REGTYPE, b"y")))
