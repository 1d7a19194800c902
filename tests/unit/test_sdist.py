"""A source distribution says what it needs, and none of its code runs to find out."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from bundler.wheels import sdist

INFO = "Metadata-Version: 2.1\nName: My.Thing\nVersion: 1.0\n"


def archive(**files: str) -> io.BytesIO:
    """Make a .tar.gz; a key is a path with ``__`` for a slash and ``_dot_`` for a dot."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as made:
        for key, text in files.items():
            member = tarfile.TarInfo("thing-1.0/" + key.replace("__", "/").replace("_dot_", "."))
            member.size = len(text.encode())
            made.addfile(member, io.BytesIO(text.encode()))
    stream.seek(0)
    return stream


def test_name_version_and_needs_are_those_of_its_metadata() -> None:
    extra = "Requires-Dist: six>=1\nRequires-Dist: fast ; extra == 'speed'\nProvides-Extra: speed\n"
    project = '[build-system]\nrequires = ["hatchling", "hatch-vcs"]\n'
    facts = sdist.read(archive(**{"PKG-INFO": INFO + extra, "pyproject_dot_toml": project}))
    assert (facts.name, facts.version) == ("my-thing", "1.0")
    assert facts.requires == ("six>=1", 'fast; extra == "speed"')
    assert facts.extras == ("speed",)
    assert facts.build_requires == ("hatchling", "hatch-vcs")


def test_older_ones_say_what_they_need_beside_it_and_are_built_by_setuptools() -> None:
    listed = "six\n\n[:python_version < '3']\nenum34\n\n[speed]\nfast>=2\n\n[speed:sys_platform == 'linux']\nuring\n"
    facts = sdist.read(archive(**{"PKG-INFO": INFO, "thing_dot_egg-info__requires_dot_txt": listed}))
    assert facts.requires == (
        "six",
        'enum34; python_version < "3"',
        'fast>=2; extra == "speed"',
        'uring; sys_platform == "linux" and extra == "speed"',
    )
    assert facts.extras == ("speed",)
    assert facts.build_requires == ("setuptools>=40.8.0",)


def test_metadata_of_what_is_packed_inside_is_not_its_own() -> None:
    facts = sdist.read(archive(**{"PKG-INFO": INFO, "vendored__PKG-INFO": "Name: other\nVersion: 9\n"}))
    assert facts.name == "my-thing"


def test_what_stands_in_for_it_is_a_wheel_with_its_needs_and_no_code() -> None:
    name, content = sdist.read(archive(**{"PKG-INFO": INFO + "Requires-Dist: six\n"})).stand_in()
    assert name == "my_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(io.BytesIO(content)) as wheel:
        assert {path.split("/")[0] for path in wheel.namelist()} == {"my_thing-1.0.dist-info"}
        assert "Requires-Dist: six\n" in wheel.read("my_thing-1.0.dist-info/METADATA").decode()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "name is invalid"),
        ({"PKG-INFO": "Name: x\nVersion: one\n"}, "Invalid version"),
        ({"PKG-INFO": INFO + "Requires-Dist: a b c\n"}, "cannot be understood"),
        ({"PKG-INFO": INFO, "pyproject_dot_toml": "[build-system\n"}, "cannot be understood"),
        ({"PKG-INFO": INFO, "pyproject_dot_toml": "[build-system]\nrequires = 'x'\n"}, "not a list of texts"),
    ],
)
def test_what_cannot_be_understood_is_refused(files: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        sdist.read(archive(**files))


@pytest.mark.parametrize("cut", [0, 7, 60])
def test_what_is_no_archive_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="cannot be unpacked"):
        sdist.read(io.BytesIO(archive(**{"PKG-INFO": INFO}).getvalue()[:cut]))


def test_a_gzip_header_that_is_cut_off_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="cannot be unpacked"):
        sdist.read(io.BytesIO(b"\x1f\x8b\x08"))
