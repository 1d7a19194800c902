"""A container engine bakes the same image: what it says, its repo, its packages, down to the last file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundler.effects.archive import Bundle
from bundler.model import layout, media_types
from bundler.oci import layer_format, tar_reader
from bundler.oci.image import Image
from bundler.oci.tar import Kind
from tests.e2e.conftest import Built, bundler
from tests.support import engines

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("bundle")]

# What installers do each in their own way: bookkeeping beside the packages, byte code, the texts of scripts, and the
# folder of C headers, for which pip asks the image's Python.
_OWN_WAY = re.compile(
    r".*\.dist-info/(INSTALLER|RECORD|REQUESTED|direct_url\.json)|.*\.pyc|usr/local/bin/.*|usr/(local/)?include/.*"
)
FileFacts = tuple[int, int, int, str]


@contextmanager
def running(name: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """Start an engine with a storage of its own; yield the variables by which it is found."""
    if name == "docker":
        with engines.docker() as started:
            yield {"DOCKER_HOST": started.program[-1]}
            assert _left(engines.call([*started.program, "images", "--all", "--quiet"])) == []
            assert _left(engines.call([*started.program, "ps", "--all", "--quiet"])) == []
    else:
        with engines.podman_home(folder) as environment:
            yield environment
            assert _left(engines.call(["podman", "images", "--all", "--quiet"], environment)) == []
            assert _left(engines.call(["podman", "ps", "--all", "--external", "--quiet"], environment)) == []


def _left(ran: engines.Ran) -> list[str]:
    assert ran.status == 0, ran.output
    return ran.output.split()


def server(bundle: Path) -> tuple[Image, Mapping[str, FileFacts]]:
    """Return the feature server of a bundle, and mode, owner, group and content of every file in its own layers.

    Folders are left out but for those of the feature repo: layers name only those that the base does not have.
    """
    with Bundle.open(bundle) as opened:
        (found,) = [one for one in opened.manifest.images if one.role == "feature-server"]
        image = Image.from_blobs(found.root, lambda digest: opened.read(layout.blob(digest)))
        files: dict[str, FileFacts] = {}
        for layer in image.layers[1:]:
            with opened.open_member(layout.blob(layer.descriptor.digest)) as stream:
                for member, content in tar_reader.members(layer_format.unpacked(stream, media_types.OCI_LAYER_GZIP)):
                    state = hashlib.sha256(member.kind.value)
                    while member.kind is Kind.FILE and (piece := content.read(1 << 20)):
                        state.update(piece)
                    if member.kind is Kind.DIRECTORY and "feature_repo" not in member.path:
                        continue
                    files[member.path] = (member.mode, member.uid, member.gid, state.hexdigest())
    return image, files


def document(bundle: Path, path: str) -> str:
    with Bundle.open(bundle) as opened:
        return opened.read(path).decode()


@pytest.fixture(scope="module")
def native(built: Built) -> tuple[Image, Mapping[str, FileFacts]]:
    return server(built.bundle)


@pytest.fixture(scope="module", params=["docker"])
def by_engine(request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the same lock, baked in an engine."""
    folder = tmp_path_factory.mktemp(request.param)
    command: list[str | Path] = ["build", "-f", built.project / "bundle.yaml", "-o", folder, "--cache-dir", built.cache]
    with running(request.param, folder) as environment:
        ran = bundler(*command, "--locked", "--engine", request.param, "--output", "json", environment=environment)
        assert ran.status == 0, ran.stderr
    return Path(json.loads(ran.stdout)["bundle"])


def test_the_image_is_the_one_that_is_baked_without_an_engine(
    by_engine: Path, native: tuple[Image, Mapping[str, FileFacts]]
) -> None:
    (image, files), (expected, expected_files) = server(by_engine), native
    assert image.config.runtime == expected.config.runtime  # user, environment, entry point, working folder, labels
    assert image.annotations == expected.annotations
    assert image.layers[0] == expected.layers[0]
    compared = {path for path in files.keys() | expected_files.keys() if not _OWN_WAY.fullmatch(path)}
    assert {path: files.get(path) for path in compared} == {path: expected_files.get(path) for path in compared}
    assert len(compared) > 10_000
    scripts, byte_code = ({path for path in files if path.startswith("usr/local/bin/")}, ".pyc")
    assert scripts == {path for path in expected_files if path.startswith("usr/local/bin/")}
    assert {path for path in files if path.endswith(byte_code)} == {
        path for path in expected_files if path.endswith(byte_code)
    }


def test_the_bundle_keeps_what_the_image_was_built_from(by_engine: Path, built: Built) -> None:
    text = document(by_engine, "build/Dockerfile")
    assert "No step needs a network" in text
    lock = json.loads((built.project / "bundle.lock").read_text())
    wheels = [
        f"{row['name']}=={row['version']} --hash=sha256:{row['sha256']}\n" for row in lock["platforms"][0]["wheels"]
    ]
    assert document(by_engine, "build/requirements.txt") == "".join(wheels)
    checklist = json.loads(document(by_engine, "checklist.json"))
    findings = [one for section in checklist["report"]["sections"] for one in section["findings"]]
    (found,) = [one for one in findings if one["check"] == "engine-build"]
    assert found["status"] == "pass"
    assert "build/Dockerfile" in found["evidence"][0]
