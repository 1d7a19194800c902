from __future__ import annotations

import csv
import io
import struct
import zipfile

import pytest

from bundler.errors import VerificationError
from bundler.wheels import licences
from bundler.wheels.install import InstalledFile, InstallTarget, OpenWheel
from tests.unit.sample_wheels import INFO, NAME, hashed, wheel

DEBIAN = InstallTarget((3, 11), "/usr/bin/python3.11", "/usr/local/lib/python3.11/dist-packages", "/usr/local/bin")
SITE = "usr/local/lib/python3.11/dist-packages"


def installed(stream: io.BytesIO, name: str = NAME, *, requested: bool = False) -> dict[str, InstalledFile]:
    files = OpenWheel(stream, name).files(DEBIAN, requested=requested)
    assert [file.path for file in files] == sorted(file.path for file in files)
    return {file.path: file for file in files}


def content(file: InstalledFile) -> bytes:
    with file.open() as stream:
        found = stream.read()
    assert len(found) == file.size
    return found


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def test_modules_scripts_and_data_go_where_the_images_python_looks() -> None:
    files = installed(
        wheel(
            {
                "demo/__init__.py": "x = 1\n",
                "demo-1.0.data/scripts/demo-tool": "#!python\nprint()\n",
                "demo-1.0.data/scripts/demo.sh": "#!/bin/sh\n",
                "demo-1.0.data/data/share/demo.txt": "data",
                "demo-1.0.data/purelib/extra.py": "y = 2\n",
                "demo-1.0.data/platlib/more.py": "z = 3\n",
                "demo-1.0.data/headers/demo.h": "h",
                f"{INFO}/entry_points.txt": "[console_scripts]\ndemo = demo:main\n[gui_scripts]\ndemo-ui = demo:ui\n",
            }
        ),
        requested=True,
    )
    assert content(files["usr/local/bin/demo-tool"]) == b"#!/usr/bin/python3.11\nprint()\n"
    assert content(files["usr/local/bin/demo.sh"]) == b"#!/bin/sh\n"
    for name in ("demo", "demo-ui", "demo-tool"):
        assert content(files[f"usr/local/bin/{name}"]).startswith(b"#!/usr/bin/python3.11\n")
        assert files[f"usr/local/bin/{name}"].executable
    assert content(files[f"{SITE}/extra.py"]) == b"y = 2\n"
    assert content(files[f"{SITE}/more.py"]) == b"z = 3\n"
    assert content(files["usr/local/share/demo.txt"]) == b"data"
    assert "usr/local/include/python3.11/demo/demo.h" in files
    assert content(files[f"{SITE}/{INFO}/INSTALLER"]) == b"bundler\n"
    assert content(files[f"{SITE}/{INFO}/REQUESTED"]) == b""
    assert f"{SITE}/{INFO}/direct_url.json" not in files


def test_what_came_as_a_dependency_is_not_marked_as_requested() -> None:
    assert f"{SITE}/{INFO}/REQUESTED" not in installed(wheel({"demo.py": ""}))


def test_only_what_the_zip_marks_as_a_program_may_be_run() -> None:
    files = installed(wheel({"demo/tool": "", "demo/note": ""}, executable=frozenset({"demo/tool"})))
    assert files[f"{SITE}/demo/tool"].executable
    assert not files[f"{SITE}/demo/note"].executable


def test_the_record_lists_every_file_with_its_hash() -> None:
    files = installed(wheel({"demo/__init__.py": "x = 1\n", "demo-1.0.data/scripts/tool": "#!python\n"}))
    record = content(files[f"{SITE}/{INFO}/RECORD"]).decode()
    rows = {row[0]: row for row in csv.reader(io.StringIO(record))}
    assert rows["demo/__init__.py"][1:] == [hashed(b"x = 1\n"), "6"]
    assert rows["../../../bin/tool"][1] == hashed(b"#!/usr/bin/python3.11\n")
    assert rows[f"{INFO}/RECORD"][1:] == ["", ""]
    assert len(rows) == len(files)


def test_byte_code_that_a_wheel_brings_is_left_out() -> None:
    files = installed(wheel({"demo/__init__.py": "", "demo/__pycache__/__init__.cpython-311.pyc": b"hidden"}))
    assert not [path for path in files if "__pycache__" in path]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py",
        "/etc/passwd",
        "demo/../../evil.py",
        "demo\\evil.py",
        "./demo.py",
        "demo//evil.py",
        "demo/\x1b[2Jevil.py",
        "demo/" + "x" * 256,
    ],
)
def test_an_entry_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(VerificationError, match=r"demo-1\.0-py3.*path that leaves"):
        installed(wheel({"demo/__init__.py": ""}, raw=[name]))


def test_a_link_in_a_wheel_is_refused() -> None:
    with pytest.raises(VerificationError, match="symbolic link"):
        installed(wheel({"demo/__init__.py": ""}, raw=[link("demo/link")]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_occurs_twice_is_refused() -> None:
    with pytest.raises(VerificationError, match="occurs twice"):
        installed(wheel({"demo/__init__.py": ""}, raw=["demo/__init__.py"]))


@pytest.mark.parametrize("other", ["demo/x/y.py", "demo-1.0.data/purelib/demo/x/y.py"])
def test_a_path_that_is_a_file_and_a_folder_is_refused(other: str) -> None:
    with pytest.raises(VerificationError, match=r"demo/x"):
        installed(wheel({"demo/x": "", other: ""}))


def test_two_entries_that_become_one_file_are_refused() -> None:
    with pytest.raises(VerificationError, match="like another entry"):
        installed(wheel({"demo/x.py": "one", "demo-1.0.data/purelib/demo/x.py": "two"}))


def test_data_in_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(VerificationError, match="scheme"):
        installed(wheel({"demo-1.0.data/elsewhere/x": ""}))


@pytest.mark.parametrize(
    "points",
    [
        "[console_scripts]\n../../etc/evil = demo:main\n",
        "[console_scripts]\ndemo = not an object reference!\n",
        "[console_scripts]\ndemo = demo\n",
        "no section\n",
        "[console_scripts]\na = b:%(c)s\n",
    ],
)
def test_entry_points_that_are_malformed_or_leave_the_folder_of_scripts_are_refused(points: str) -> None:
    with pytest.raises(VerificationError, match=r"entry_points\.txt"):
        installed(wheel({f"{INFO}/entry_points.txt": points}))


def patched(stream: io.BytesIO, entry: str, before_name: int, number: int) -> io.BytesIO:
    """Change a field of an entry in the zip's directory; it lies so many bytes before the name (APPNOTE.TXT 4.3.12)."""
    with zipfile.ZipFile(stream) as archive:
        start = archive.start_dir
    raw = bytearray(stream.getvalue())
    struct.pack_into("<I", raw, raw.index(entry.encode(), start) - before_name, number)
    return io.BytesIO(bytes(raw))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(VerificationError, match="which no wheel does"):
        installed(patched(wheel({"demo/zeros": "0"}), "demo/zeros", 22, 1 << 30))


def test_an_entry_that_is_shorter_than_it_says_is_noticed_while_it_is_read() -> None:
    files = installed(patched(wheel({"demo/zeros": "0"}), "demo/zeros", 22, 2))
    with files[f"{SITE}/demo/zeros"].open() as stream, pytest.raises(VerificationError, match="demo/zeros"):
        stream.read()


def test_entries_that_share_their_bytes_are_refused() -> None:
    with pytest.raises(VerificationError, match="overlaps"):
        installed(patched(wheel({"demo/a.py": "x", "demo/b.py": "x"}), "demo/b.py", 4, 0))


def test_a_file_that_is_not_what_the_record_says_is_noticed_while_it_is_read() -> None:
    files = installed(wheel({"demo.py": "x = 1\n"}, record={"demo.py": hashed(b"x = 2\n")}))
    with files[f"{SITE}/demo.py"].open() as stream, pytest.raises(VerificationError, match="not what RECORD says"):
        stream.read()


@pytest.mark.parametrize("found", [None, "", "md5=AAAA", "sha256=", "sha256=AAAA"])
def test_a_file_without_a_good_hash_in_the_record_is_refused(found: str | None) -> None:
    with pytest.raises(VerificationError, match=r"demo\.py.*RECORD"):
        installed(wheel({"demo.py": ""}, record={"demo.py": found}))


def test_a_damaged_wheel_is_noticed_while_it_is_read() -> None:
    raw = bytearray(wheel({"demo.py": "x = 1\n" * 1000}).getvalue())
    raw[45] ^= 0xFF  # inside the deflated bytes of the first entry
    demo = installed(io.BytesIO(bytes(raw)))[f"{SITE}/demo.py"]
    with demo.open() as stream, pytest.raises(VerificationError, match=r"demo\.py"):
        stream.read()


def test_what_is_no_wheel_is_refused() -> None:
    with pytest.raises(VerificationError, match="is not a zip"):
        installed(io.BytesIO(b"not a zip"))
    with pytest.raises(VerificationError, match="is not a wheel"):
        installed(wheel({"other-2.0.dist-info/x": ""}))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\n")
    with pytest.raises(VerificationError, match="is not a wheel"):
        installed(stream)


@pytest.mark.parametrize("row", ['"' + "x" * 200_000 + '",,\n', "a\rb,,\n"])
def test_a_record_that_is_not_a_table_is_refused(row: str) -> None:
    source = zipfile.ZipFile(wheel({"demo/__init__.py": ""}))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for entry in source.namelist():
            archive.writestr(entry, source.read(entry) + (row.encode() if entry.endswith("/RECORD") else b""))
    with pytest.raises(VerificationError, match="is not a table"):
        OpenWheel(target, NAME)


def test_metadata_that_would_fill_the_memory_is_refused() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\n" + "A: b\n" * (1 << 20))
        archive.writestr(f"{INFO}/RECORD", "")
    with pytest.raises(VerificationError, match="absurdly large"):
        OpenWheel(target, NAME)


@pytest.mark.parametrize("content", [b"", b"PK", b"x" * 100])
def test_what_is_not_a_wheel_declares_no_licence(content: bytes) -> None:
    assert licences.declared(io.BytesIO(content)) == ()


@pytest.mark.parametrize(("place", "value"), [(6, 99), (8, 1), (8, 0x20), (8, 0x40), (10, 99), (30, 60_000)])
def test_a_wheel_with_odd_entries_declares_no_licence(place: int, value: int) -> None:
    content = bytearray(wheel({"demo/__init__.py": ""}).getvalue())
    begin = -1
    while (begin := content.find(b"PK\x01\x02", begin + 1)) >= 0:
        content[begin + place : begin + place + 2] = value.to_bytes(2, "little")
    assert licences.declared(io.BytesIO(content)) == ()


def test_a_zip_of_a_later_version_is_refused() -> None:
    content = bytearray(wheel({"demo/__init__.py": ""}).getvalue())
    place = content.index(b"PK\x01\x02") + 6  # what unpacking needs, in the first entry of the directory
    content[place : place + 2] = (99).to_bytes(2, "little")
    with pytest.raises(VerificationError, match=r"is not a zip file: zip file version 9\.9"):
        OpenWheel(io.BytesIO(content), NAME)


def test_a_wheel_of_another_distribution_or_version_than_its_name_says_is_refused() -> None:
    for name in ("other-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl", "demo.whl"):
        with pytest.raises(VerificationError, match="another distribution or version"):
            installed(wheel({}), name)


def test_a_wheel_of_a_later_format_is_refused() -> None:
    with pytest.raises(VerificationError, match=r"wheel format '2\.0'"):
        installed(wheel({f"{INFO}/WHEEL": "Wheel-Version: 2.0\n"}))


@pytest.mark.parametrize(
    "entry",
    ["demo/.wh.hazmat", "demo-1.0.data/data/.wh..wh..opq", "demo-1.0.data/scripts/.wh.python3", "demo/.wh.x/y.py"],
)
def test_what_would_delete_files_of_other_layers_is_refused(entry: str) -> None:
    with pytest.raises(VerificationError, match="would delete files"):
        installed(wheel({"demo/__init__.py": "", entry: ""}))


def test_an_entry_point_that_would_delete_a_program_is_refused() -> None:
    points = "[console_scripts]\n.wh.python3 = demo:main\n"
    with pytest.raises(VerificationError, match=r"\.wh\.python3"):
        installed(wheel({"demo/__init__.py": "", f"{INFO}/entry_points.txt": points}))
