"""Source distributions are locked with what they need when they run, and with what they are built with."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.errors import LockError
from bundler.model import lock as lock_file
from bundler.model import spec_reader
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, LockedPlatform
from bundler.model.progress import SilentProgress
from bundler.steps.lock import resolve as lock
from bundler.steps.lock import sdists as lock_sources
from bundler.steps.lock.resolve import LockInputs
from bundler.steps.lock.sdists import Asking
from tests.integration.package_index import PackageIndex
from tests.integration.test_lock import AMD64, SPEC, asked_alone, base, distribution, inputs

pytestmark = pytest.mark.integration
BUILT_BY = '[build-system]\nrequires = ["setuptools", "speedy-backend>=1"]\n'


def source(name: str, version: str, info: str = "", project: str = "") -> tuple[str, bytes]:
    stream = io.BytesIO()
    texts = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{info}", "pyproject.toml": project}
    # Reading it must not run it.
    texts["setup.py"] = "raise SystemExit('this ran')\n"
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in texts.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return f"{name}-{version}.tar.gz", stream.getvalue()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    extra = "Requires-Dist: dependency>=2\nRequires-Dist: fast ; extra == 'speed'\nProvides-Extra: speed\n"
    served = dict(
        [
            distribution("feast", "0.61.0", "shared>=1", "redis; extra == 'redis'", "grpcio; extra == 'grpcio'"),
            distribution("redis", "4.0"),
            distribution("grpcio", "1.0"),
            distribution("shared", "1.0"),
            distribution("dependency", "1.0"),
            distribution("dependency", "2.0"),
            distribution("fast", "1.0"),
            distribution("setuptools", "80.0"),
            distribution("speedy_backend", "1.0", "helper"),
            distribution("helper", "1.0"),
            source("native", "0.6", extra, BUILT_BY),
            source("liar", "1.0", project="[build-system"),
            source("other", "1.0"),
        ]
    )
    served["renamed-1.0.tar.gz"] = served["other-1.0.tar.gz"]
    with asked_alone(served, monkeypatch) as running:
        yield running


def asked(folder: Path, *sdists: str) -> LockInputs:
    wanted = inputs(folder, requirements="")
    spec = spec_reader.read(
        f"{SPEC}sdists: {list(sdists)}\nplatforms: [linux/amd64]\n".replace(
            "platforms: [linux/amd64, linux/arm64]\n", ""
        ),
        "bundle.yaml",
    )
    return replace(wanted, project=replace(wanted.project, spec=spec), bases={AMD64: base("linux/amd64", {})})


def locked(wanted: LockInputs) -> tuple[BundleLock, LockedPlatform]:
    made = lock.run(wanted, BlobStore(wanted.project.folder / "cache"), SilentProgress())
    return made, made.platforms[0]


def asking(wanted: LockInputs, store: BlobStore) -> Asking:
    return Asking(lock.image_python(wanted.bases[AMD64], AMD64), (), store, SilentProgress())


@pytest.mark.usefixtures("index")
def test_a_source_is_locked_with_what_it_needs_and_with_its_tools(tmp_path: Path) -> None:
    made, row = locked(asked(tmp_path, "native[speed]==0.6"))
    assert [(one.name, one.version, one.filename) for one in row.sources] == [("native", "0.6", "native-0.6.tar.gz")]
    assert [one.name for one in row.tools] == ["helper", "setuptools", "speedy-backend"]
    wheels = {one.name: one.version for one in row.wheels}
    assert wheels["dependency"] == "2.0"
    assert "fast" in wheels
    assert not wheels.keys() & {"native", "setuptools"}
    assert lock_file.read(made.to_text(), "bundle.lock") == made
    assert not lock.stale(made, asked(tmp_path, "native[speed]==0.6"))
    assert any("native" in line for line in lock.stale(made, asked(tmp_path, "other==1.0")))


@pytest.mark.usefixtures("index")
def test_without_sources_a_lock_says_nothing_of_them(tmp_path: Path) -> None:
    made, row = locked(asked(tmp_path))
    assert (row.sources, row.tools) == ((), ())
    assert '"sources"' not in made.to_text()


@pytest.mark.usefixtures("index")
def test_what_is_locked_is_fetched_by_its_hash_on_another_machine(tmp_path: Path) -> None:
    wanted = asked(tmp_path, "native==0.6")
    _, row = locked(wanted)
    store = BlobStore(tmp_path / "elsewhere")
    lock_sources.fetch(row, asking(wanted, store), tmp_path / "wheels")
    assert all(store.has(Digest(one.sha256), one.size) for one in row.sources)
    assert all(store.has(Digest(one.sha256), one.size) for one in row.tools)


def test_a_source_that_the_index_replaced_is_refused(tmp_path: Path, index: PackageIndex) -> None:
    wanted = asked(tmp_path, "native==0.6")
    _, row = locked(wanted)
    index.wheels["native-0.6.tar.gz"] = source("native", "0.6", "Summary: another\n", BUILT_BY)[1]
    with pytest.raises(LockError, match=r"native-0\.6\.tar\.gz with SHA-256"):
        lock_sources.fetch(row, asking(wanted, BlobStore(tmp_path / "elsewhere")), tmp_path / "wheels")


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(
    ("requirement", "said"),
    [
        ("liar", r"liar-1\.0\.tar\.gz: what it says of itself cannot be understood"),
        ("renamed", r"renamed-1\.0\.tar\.gz says that it is other 1\.0"),
        ("fast", "fast 1.0 has no source distribution"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_with_what_to_do(tmp_path: Path, requirement: str, said: str) -> None:
    with pytest.raises(LockError, match=said) as caught:
        locked(asked(tmp_path, requirement))
    assert caught.value.remedy
