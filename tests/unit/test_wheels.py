from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping

import pytest

from bundler.errors import LockError, VerificationError
from bundler.model import lock
from bundler.model.lock import BundleLock, LockedPlatform, LockedWheel
from bundler.model.platform import Platform
from bundler.wheels.compatibility import ImagePython
from bundler.wheels.groups import group
from bundler.wheels.install import InstalledFile, InstallTarget, OpenWheel

DEBIAN = InstallTarget((3, 11), "/usr/bin/python3.11", "/usr/local/lib/python3.11/dist-packages", "/usr/local/bin")
AMD64 = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "amd64"))
SITE = "usr/local/lib/python3.11/dist-packages"


def wheel(files: Mapping[str, bytes | str], *, record: bool = True, names: tuple[str, ...] = ()) -> io.BytesIO:
    """Make a wheel of the files given, with a RECORD; ``names`` are written as raw entries on top."""
    stream = io.BytesIO()
    rows = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
        contents.setdefault("demo-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n")
        for name, content in contents.items():
            archive.writestr(name, content)
            rows.append(f"{name},{hashed(content)},{len(content)}")
        if record:
            archive.writestr("demo-1.0.dist-info/RECORD", "\n".join([*rows, "demo-1.0.dist-info/RECORD,,"]) + "\n")
        for name in names:
            archive.writestr(name, b"")
    stream.seek(0)
    return stream


def hashed(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def installed(
    stream: io.BytesIO, target: InstallTarget = DEBIAN, *, requested: bool = False
) -> dict[str, InstalledFile]:
    files = OpenWheel(stream, "demo-1.0-py3-none-any.whl").files(target, requested=requested)
    assert [file.path for file in files] == sorted(file.path for file in files)
    return {file.path: file for file in files}


def content(file: InstalledFile) -> bytes:
    with file.open() as stream:
        found = stream.read()
    assert len(found) == file.size
    return found


def test_modules_scripts_and_data_go_where_the_images_python_looks() -> None:
    files = installed(
        wheel(
            {
                "demo/__init__.py": "x = 1\n",
                "demo-1.0.data/scripts/demo-tool": "#!python\nprint()\n",
                "demo-1.0.data/data/share/demo.txt": "data",
                "demo-1.0.data/purelib/extra.py": "y = 2\n",
                "demo-1.0.data/headers/demo.h": "h",
                "demo-1.0.dist-info/entry_points.txt": "[console_scripts]\ndemo = demo:main\n",
            }
        ),
        requested=True,
    )
    assert content(files["usr/local/bin/demo-tool"]) == b"#!/usr/bin/python3.11\nprint()\n"
    assert content(files["usr/local/bin/demo"]).startswith(b"#!/usr/bin/python3.11\n")
    assert files["usr/local/bin/demo"].executable
    assert content(files[f"{SITE}/extra.py"]) == b"y = 2\n"
    assert content(files["usr/local/share/demo.txt"]) == b"data"
    assert "usr/local/include/python3.11/demo/demo.h" in files
    assert content(files[f"{SITE}/demo-1.0.dist-info/INSTALLER"]) == b"bundler\n"
    assert content(files[f"{SITE}/demo-1.0.dist-info/REQUESTED"]) == b""


def test_the_record_lists_every_file_with_its_hash() -> None:
    files = installed(wheel({"demo/__init__.py": "x = 1\n", "demo-1.0.data/scripts/tool": "#!python\n"}))
    record = content(files[f"{SITE}/demo-1.0.dist-info/RECORD"]).decode()
    rows = {row[0]: row for row in csv.reader(io.StringIO(record))}
    assert rows["demo/__init__.py"][1:] == [hashed(b"x = 1\n"), "6"]
    assert rows["../../../bin/tool"][1] == hashed(b"#!/usr/bin/python3.11\n")
    assert rows["demo-1.0.dist-info/RECORD"][1:] == ["", ""]
    assert len(rows) == len(files)


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/passwd", "demo/../../evil.py", "demo\\evil.py", "./demo.py", "demo//evil.py"]
)
def test_an_entry_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(VerificationError, match="path that leaves"):
        installed(wheel({"demo/__init__.py": ""}, names=(name,)))


def test_a_link_in_a_wheel_is_refused() -> None:
    stream = wheel({"demo/__init__.py": ""})
    with zipfile.ZipFile(stream, "a") as archive:
        info = zipfile.ZipInfo("demo/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(VerificationError, match="symbolic link"):
        installed(stream)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_occurs_twice_is_refused() -> None:
    with pytest.raises(VerificationError, match="occurs twice"):
        installed(wheel({"demo/__init__.py": ""}, names=("demo/__init__.py",)))


def test_a_script_name_that_is_a_path_is_refused() -> None:
    points = "[console_scripts]\n../../etc/evil = demo:main\n"
    with pytest.raises(VerificationError, match="names a script"):
        installed(wheel({"demo-1.0.dist-info/entry_points.txt": points}))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(VerificationError, match="which no wheel does"):
        installed(wheel({"demo/zeros": bytes(320 << 20)}))


def test_what_is_no_zip_and_what_has_no_record_is_refused() -> None:
    with pytest.raises(VerificationError, match="is not a zip"):
        installed(io.BytesIO(b"not a zip"))
    with pytest.raises(VerificationError, match="no RECORD"):
        installed(wheel({"demo.py": ""}, record=False))


def test_a_damaged_wheel_is_noticed_while_it_is_read() -> None:
    stream = wheel({"demo.py": "x = 1\n" * 1000})
    raw = bytearray(stream.getvalue())
    raw[60] ^= 0xFF  # inside the deflated bytes of the first entry
    files = OpenWheel(io.BytesIO(bytes(raw)), "demo.whl").files(DEBIAN)
    demo = next(file for file in files if file.path.endswith("demo.py"))
    with pytest.raises((zipfile.BadZipFile, zlib.error)):
        content(demo)


def test_the_best_wheel_is_the_one_pip_would_choose() -> None:
    names = (
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "demo-1.0-cp311-cp311-manylinux_2_39_x86_64.whl",
        "demo-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "demo-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
    )
    assert AMD64.best(names) == "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"
    arm64 = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "arm64"))
    assert arm64.best(names) == "demo-1.0-py3-none-any.whl"
    assert arm64.best(names[1:]) is None
    assert AMD64.best(("demo-1.0-cp38-abi3-manylinux1_x86_64.whl",)) is not None


def test_markers_are_those_of_the_image_not_of_the_build_host() -> None:
    assert AMD64.satisfies("python_full_version <= '3.11.2' and platform_machine == 'x86_64'")
    assert not AMD64.satisfies("python_full_version > '3.11.2' or sys_platform == 'win32'")
    assert AMD64.satisfies(None)


@pytest.mark.parametrize(
    ("glibc", "name"), [((2, 36), "manylinux_2_36"), ((2, 34), "manylinux_2_34"), ((2, 30), "manylinux_2_28")]
)
def test_uv_is_asked_for_the_newest_platform_that_the_c_library_satisfies(glibc: tuple[int, int], name: str) -> None:
    assert ImagePython((3, 12), "3.12.1", glibc, Platform("linux", "arm64")).uv_platform == f"aarch64-{name}"


def locked(name: str, size: int = 10) -> LockedWheel:
    return LockedWheel(name=name, version="1", filename=f"{name}-1-py3-none-any.whl", size=size, sha256="0" * 64)


def test_big_wheels_get_a_layer_each_and_feast_comes_last() -> None:
    groups = group(
        [locked("feast", 50_000_000), locked("small"), locked("pandas", 13_000_000), locked("arrow", 40_000_000)]
    )
    assert [[one.name for one in part.wheels] for part in groups] == [["arrow"], ["pandas"], ["small"], ["feast"]]


def a_lock(*wheels: LockedWheel) -> BundleLock:
    platform = LockedPlatform(
        platform="linux/amd64",
        python="3.11.2",
        glibc="2.36",
        base_digest="sha256:" + "1" * 64,
        base_packages={"libc6": "2.36-9"},
        wheels=wheels,
    )
    return BundleLock(
        tool="bundler 0",
        created=5,
        spec="sha256:" + "2" * 64,
        repo="sha256:" + "3" * 64,
        compressor="gz",
        constraints="x",
        platforms=(platform,),
        images=(),
    )


def test_a_lock_reads_back_and_has_a_wheel_a_line() -> None:
    written = a_lock(locked("a"), locked("b"))
    text = written.to_text()
    assert lock.read(text, "bundle.lock") == written
    assert sum("-py3-none-any.whl" in line for line in text.splitlines()) == 2


def test_two_locks_differ_by_what_moved() -> None:
    assert lock.differences(a_lock(locked("a")), a_lock(locked("a"))) == ()
    assert lock.differences(a_lock(locked("a")), a_lock(locked("b"))) == (
        "- linux/amd64: a 1 (a-1-py3-none-any.whl)",
        "+ linux/amd64: b 1 (b-1-py3-none-any.whl)",
    )


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": 2}', a_lock(locked("a")).to_text().replace("a-1-py3", "../../a-1-py3")]
)
def test_what_is_no_lock_is_refused_with_the_way_to_write_one(text: str) -> None:
    with pytest.raises(LockError, match="bundler lock"):
        lock.read(text, "bundle.lock")
