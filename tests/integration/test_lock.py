from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from bundler.effects import feature_repo
from bundler.effects.blobs import BlobStore
from bundler.effects.operator_manifest import OperatorRelease
from bundler.effects.packages import wheelhouse
from bundler.errors import LockError, SpecError, UsageError, VerificationError
from bundler.model import spec_reader
from bundler.model.digest import Digest
from bundler.model.lock import BundleLock, differences
from bundler.model.lock import read as read_lock
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci import image
from bundler.oci.rootfs import BaseContents, PythonInstallation
from bundler.steps.lock import lockfile
from bundler.steps.lock import resolve as lock
from bundler.steps.lock.project import Project
from bundler.steps.lock.resolve import LockInputs
from bundler.steps.sources.unpacked_base import UnpackedBase
from tests.integration.package_index import PackageIndex
from tests.unit.sample_wheels import wheel

pytestmark = pytest.mark.integration
AMD64 = Platform("linux", "amd64")
SPEC = """
name: demo
version: 1.0.0
repo: {path: repo}
feast: {version: 0.61.0}
base: {debian: bookworm}
requirements: [requirements.txt]
platforms: [linux/amd64, linux/arm64]
registry: {host: registry.internal.example}
operator: {version: 0.61.0, preinstalled: true}
deployment: {name: demo}
"""
PINS = b"""# made by uv
redis==4.0 \\
    --hash=sha256:00
shared==1.0
windows==1.0 ; sys_platform == 'win32'
"""


def distribution(name: str, version: str, *requires: str) -> tuple[str, bytes]:
    content = wheel({f"{name}.py": ""}, name=name, version=version, requires=requires).getvalue()
    return f"{name}-{version}-py3-none-any.whl", content


def feast_sources() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        files = {
            "PKG-INFO": b"Metadata-Version: 2.2\nName: feast\nVersion: 0.61.0\n",
            "sdk/python/requirements/py3.11-minimal-requirements.txt": PINS,
            "sdk/python/requirements/py3.12-minimal-requirements.txt": b"shared==9.9\n",
        }
        for name, content in files.items():
            member = tarfile.TarInfo(f"feast-0.61.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    served = dict(
        [
            distribution("feast", "0.61.0", "shared>=1", "redis>=4; extra == 'redis'", "grpcio; extra == 'grpcio'"),
            distribution("redis", "4.0"),
            distribution("redis", "5.0"),
            distribution("grpcio", "1.0"),
            distribution("shared", "1.0"),
            distribution("shared", "2.0"),
            distribution("asked", "1.0", "dependency"),
            distribution("asked", "2.0", "dependency"),
            distribution("dependency", "1.0"),
            distribution("dependency", "2.0"),
        ]
    )
    with asked_alone(served, monkeypatch) as running:
        yield running


@contextmanager
def asked_alone(served: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """Serve distributions, and Feast's sources, from the one index that uv then asks."""
    with PackageIndex({**served, "feast-0.61.0.tar.gz": feast_sources()}).running() as running:
        monkeypatch.setenv("UV_DEFAULT_INDEX", running.url)
        monkeypatch.setenv("UV_NO_CACHE", "1")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield running


def base(platform: str, held: Mapping[str, str]) -> UnpackedBase:
    python = PythonInstallation((3, 11), "3.11.2", "/usr/bin/python3.11", "/usr/lib/python3/dist-packages", "/usr/bin")
    contents = BaseContents(python, held, (2, 36), {}, True, {}, {"libc6": "2.36-9"})  # noqa: FBT003  (has_bash)
    return UnpackedBase(image.empty(Platform.parse(platform)), contents)


def inputs(folder: Path, requirements: str = "asked\n", held: Mapping[str, str] | None = None) -> LockInputs:
    repo = folder / "repo"
    repo.mkdir(exist_ok=True)
    (repo / "feature_store.yaml").write_text(
        "project: demo\nprovider: local\nonline_store: {type: redis, connection_string: x}\nregistry: r.db\n"
    )
    (folder / "requirements.txt").write_text(requirements)
    spec = spec_reader.read(SPEC, "bundle.yaml")
    bases = {Platform.parse(text): base(text, held or {}) for text in spec.platforms}
    project = Project(spec, folder / "bundle.yaml", feature_repo.read(repo, spec.repo))
    return LockInputs(project, bases, (), now=1000)


def locked(wanted: LockInputs) -> BundleLock:
    return lock.run(wanted, BlobStore(wanted.project.folder / "cache"), SilentProgress())


def versions(made: BundleLock, row: int = 0) -> dict[str, str]:
    return {found.name: found.version for found in made.platforms[row].wheels}


@pytest.mark.usefixtures("index")
def test_a_lock_pins_what_is_asked_for_what_stores_need_and_what_feast_was_released_with(tmp_path: Path) -> None:
    made = locked(inputs(tmp_path))
    assert versions(made) == {
        "asked": "2.0",
        "dependency": "2.0",
        "feast": "0.61.0",
        "grpcio": "1.0",
        "redis": "4.0",
        "shared": "1.0",
    }
    assert versions(made, 1) == versions(made)
    assert made.constraints == "Feast 0.61.0's own lock for Python 3.11"
    assert "asked" in made.requirements
    assert any(line.startswith("feast[") and "redis" in line for line in made.requirements)
    assert read_lock(made.to_text(), "bundle.lock") == made


def test_a_lock_names_no_host(tmp_path: Path, index: PackageIndex) -> None:
    (tmp_path / "c.txt").write_text("asked<2\n")
    text = locked(inputs(tmp_path, f"--extra-index-url {index.url}\nasked\n-c c.txt\n")).to_text()
    assert "127.0.0.1" not in text
    assert "http" not in text


@pytest.mark.usefixtures("index")
def test_an_index_that_a_requirement_file_names_is_used_for_locking_and_for_fetching(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = PackageIndex(dict([distribution("ours", "1.0")]), login=("someone", "hunter2"), with_sizes=False)
    monkeypatch.setenv("INDEX_PASSWORD", "hunter2")
    with private.running():
        url = private.url_with_login.replace("hunter2", "${INDEX_PASSWORD}")
        wanted = inputs(tmp_path, f"--extra-index-url {url}\nours\n")
        made = locked(wanted)
        assert versions(made)["ours"] == "1.0"
        assert "hunter2" not in made.to_text()
        (ours,) = (found for found in made.platforms[0].wheels if found.name == "ours")
        options = wanted.project.requirements.index_options
        store, python = BlobStore(tmp_path / "other"), lock.image_python(wanted.bases[AMD64], AMD64)
        wheelhouse.fetch([ours], python, store, wheels_dir=None, progress=SilentProgress(), options=options)
        assert store.has(Digest(ours.sha256), ours.size)


@pytest.mark.usefixtures("index")
def test_what_the_base_holds_is_kept_and_not_installed_twice(tmp_path: Path) -> None:
    held = {"feast": "0.61.0", "shared": "2.0", "dependency": "1.0+corp", "odd": "not a version"}
    made = locked(inputs(tmp_path, held=held))
    assert versions(made) == {"asked": "2.0", "grpcio": "1.0", "redis": "5.0"}
    assert made.constraints == "what the base image holds"


def extra_of_redis(*requires: str) -> dict[str, bytes]:
    """Return what an index serves where Feast's extra for Redis asks for something of its own."""
    needs = (f"{line}; extra == 'redis'" for line in requires)
    served = [distribution("feast", "0.61.0", "shared>=1", "grpcio; extra == 'grpcio'", *needs)]
    served += [distribution("redis", version) for version in ("4.0", "5.0", "6.0")]
    return dict([*served, distribution("grpcio", "1.0"), distribution("shared", "1.0")])


def test_a_version_of_feasts_own_lock_gives_way_to_an_extra_and_the_lock_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asked_alone(extra_of_redis("redis>=5,<6"), monkeypatch):
        made = locked(inputs(tmp_path, ""))
    assert (versions(made)["redis"], versions(made)["shared"]) == ("5.0", "1.0")
    assert made.constraints == "Feast 0.61.0's own lock for Python 3.11 (given way: redis 5.0 instead of 4.0)"


def test_what_an_extra_asks_for_gives_way_to_a_pin_of_the_repo_and_the_lock_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asked_alone(extra_of_redis("redis==5.0"), monkeypatch):
        made = locked(inputs(tmp_path, "redis==6.0\n"))
    assert versions(made)["redis"] == "6.0"
    assert "redis==6.0 (requirements.txt:1) instead of what others ask for" in made.constraints


def test_what_nothing_can_give_way_to_is_refused_with_uvs_whole_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with asked_alone(extra_of_redis("redis>=7"), monkeypatch), pytest.raises(LockError) as caught:
        locked(inputs(tmp_path, ""))
    assert any("redis>=7" in line for line in caught.value.details)


def test_all_packages_without_a_wheel_are_named_at_once(tmp_path: Path, index: PackageIndex) -> None:
    for name in ("pinned-1.0", "bare-1.0", "bare-2.0"):
        index.wheels[f"{name}.tar.gz"] = b"never built"
    needing = wheel({"needing.py": ""}, name="needing", version="1.0", requires=("bare>=1", "pinned==1.0")).getvalue()
    index.wheels["needing-1.0-py3-none-any.whl"] = needing
    with pytest.raises(LockError, match=r"^bare, pinned==1\.0 have no wheels that run in the image") as caught:
        locked(inputs(tmp_path, "needing\n"))
    assert "pip wheel --no-deps bare pinned==1.0 -w wheels" in caught.value.remedy


class Heard(SilentProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_wheels_that_cannot_be_installed_are_all_named_when_they_are_locked(
    tmp_path: Path, index: PackageIndex
) -> None:
    for name in ("asked", "dependency"):
        content = wheel({f"{name}.py": ""}, name=name, version="2.0", record={f"{name}.py": None}).getvalue()
        index.wheels[f"{name}-2.0-py3-none-any.whl"] = content
    with pytest.raises(VerificationError, match="2 wheels cannot be installed") as caught:
        locked(inputs(tmp_path, "asked\ndependency\n"))
    first, second = caught.value.details
    assert "asked-2.0-py3-none-any.whl: the entry 'asked.py' has no SHA-256 hash" in first
    assert "python -m wheel pack" in first
    assert "dependency-2.0-py3-none-any.whl" in second


def test_wheels_that_overlap_and_releases_that_were_withdrawn_are_said_when_they_are_locked(
    tmp_path: Path, index: PackageIndex
) -> None:
    same = {"cv/__init__.py": "", "cv/data.py": "SAME = 1\n"}
    for number, name in enumerate(("headless", "windowed")):
        content = wheel({**same, "cv/core.py": f"{number}\n"}, name=name, version="1.0").getvalue()
        index.wheels[f"{name}-1.0-py3-none-any.whl"] = content
    index.yanked["asked-1.0-py3-none-any.whl"] = "does not start"
    wanted, heard = inputs(tmp_path, "asked==1.0\nheadless\nwindowed\n"), Heard()
    locked = lock.run(wanted, BlobStore(tmp_path / "cache"), heard)
    assert {one.name: one.yanked for one in locked.platforms[0].wheels if one.yanked is not None} == {
        "asked": "does not start"
    }
    assert "asked 1.0 was withdrawn by its authors (does not start). Ask for another release." in heard.lines
    (line,) = {line for line in heard.lines if "windowed" in line}
    assert line.startswith("headless-1.0-py3-none-any.whl and windowed-1.0-py3-none-any.whl both have cv/core.py, with")


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize(("packages", "said"), [("[]", True), ("[openjdk-17-jre-headless]", False)])
def test_java_that_spark_needs_and_nothing_brings_is_said(tmp_path: Path, packages: str, *, said: bool) -> None:
    wanted, heard = inputs(tmp_path, ""), Heard()
    text = SPEC.replace("version: 0.61.0}", "version: 0.61.0, extras: [spark]}", 1) + f"system_packages: {packages}\n"
    project = replace(wanted.project, spec=spec_reader.read(text, "bundle.yaml"))
    lock.run(replace(wanted, project=project), BlobStore(tmp_path / "cache"), heard)
    assert any("Spark and Flink start Java, which nothing of the spec brings" in line for line in heard.lines) is said


def test_an_extra_that_is_switched_off_is_not_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = inputs(tmp_path, "")
    spec = spec_reader.read(SPEC.replace("version: 0.61.0}", 'version: 0.61.0, extras: ["-redis", mysql]}', 1), "b")
    names = replace(wanted.project, spec=spec).requirements.asked[0].requirement.extras
    assert names == {"grpcio", "mysql"}


# A build backend in the project itself, so that nothing but uv is needed to build it.
BACKEND = """
import base64, hashlib, zipfile
NEEDS = "Requires-Dist: asked\\n"
def build_wheel(folder, settings=None, metadata=None):
    record = ""
    with zipfile.ZipFile(f"{folder}/ours-1.0-py3-none-any.whl", "w") as archive:
        for name, text in (
            ("ours.py", open("ours.py").read()),
            ("ours-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n" + NEEDS),
            ("ours-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"),
        ):
            archive.writestr(zipfile.ZipInfo(name), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},\\n"
        archive.writestr(zipfile.ZipInfo("ours-1.0.dist-info/RECORD"), record)
    return "ours-1.0-py3-none-any.whl"
"""


def project_of_ours(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        "[project]\nname = 'ours'\nversion = '1.0'\n"
    )
    (folder / "backend.py").write_text(BACKEND)
    (folder / "ours.py").write_text("A = 1\n")
    return folder


@pytest.mark.usefixtures("index")
@pytest.mark.parametrize("line", ["-e ./lib", "./lib", "ours @ file://{folder}/lib"])
def test_a_project_beside_the_spec_is_built_into_a_wheel_and_locked_by_what_is_in_it(tmp_path: Path, line: str) -> None:
    project_of_ours(tmp_path / "lib")
    wanted = inputs(tmp_path, f"{line.format(folder=tmp_path)}\nshared<2\n")
    made = locked(wanted)
    text = f"{line.format(folder=tmp_path)}\nshared<2\n"
    assert {"ours", "asked", "dependency"} <= versions(made).keys()
    (ours,) = (found for found in made.platforms[0].wheels if found.name == "ours")
    assert BlobStore(tmp_path / "cache").has(Digest(ours.sha256), ours.size)
    assert not lock.stale(made, inputs(tmp_path, text))
    (tmp_path / "lib" / "ours.py").write_text("A = 2\n")
    assert any("project lib" in row for row in lock.stale(made, inputs(tmp_path, text)))


@pytest.mark.usefixtures("index")
def test_a_secret_in_a_project_beside_the_spec_is_refused_with_its_line(tmp_path: Path) -> None:
    lib = project_of_ours(tmp_path / "lib")
    (lib / "ours.py").write_text(
        "A = 1\n\nB = 'AKIA" + "2E0A8F3B1C4D5E6F'\n"
    )  # in parts: no scanner takes this file for a leak
    with pytest.raises(SpecError, match="wheels of local projects: 1 found") as caught:
        locked(inputs(tmp_path, "./lib\n"))
    (line,) = caught.value.details
    assert line.startswith("requirements.txt:1: ours-1.0-py3-none-any.whl: ours.py:3: ")
    assert "AKIA" not in line


@pytest.mark.usefixtures("index")
def test_wheels_that_are_named_by_their_place_are_locked_and_fetched_by_hash(tmp_path: Path) -> None:
    name, content = distribution("ours", "2.0")
    (tmp_path / name).write_bytes(content)
    wanted = inputs(tmp_path, f"./{name}\n")
    made = locked(wanted)
    (ours,) = (found for found in made.platforms[0].wheels if found.name == "ours")
    assert ours.sha256 == Digest.of(content).hex
    store, python = BlobStore(tmp_path / "other"), lock.image_python(wanted.bases[AMD64], AMD64)
    direct = {address.filename: address.location for address in wanted.project.requirements.addresses}
    wheelhouse.fetch([ours], python, store, wheels_dir=None, progress=SilentProgress(), direct=direct)
    assert store.has(Digest(ours.sha256), ours.size)


@pytest.mark.usefixtures("index")
def test_a_requirement_that_contradicts_the_base_names_both(tmp_path: Path) -> None:
    wanted = inputs(tmp_path, "# first\nshared>=2  # why\nfeast==0.60.0\n", held={"feast": "0.61.0", "shared": "1.0"})
    with pytest.raises(LockError, match="contradicts") as caught:
        locked(wanted)
    assert caught.value.details == (
        "requirements.txt:2: shared>=2, but the base image holds shared 1.0",
        "requirements.txt:3: feast==0.60.0, but the spec says feast.version 0.61.0",
    )


@pytest.mark.usefixtures("index")
def test_a_base_with_another_feast_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"holds Feast 0\.60\.0.*asks for 0\.61\.0"):
        locked(inputs(tmp_path, held={"feast": "0.60.0"}))


@pytest.mark.usefixtures("index")
def test_a_version_that_somebody_asks_for_wins_over_feasts_own_lock_and_the_lock_says_so(tmp_path: Path) -> None:
    made = locked(inputs(tmp_path, "redis>=5\n"))
    assert versions(made)["redis"] == "5.0"
    assert made.constraints == "Feast 0.61.0's own lock for Python 3.11 (except redis: requirements.txt:1)"


@pytest.mark.usefixtures("index")
def test_locking_again_changes_nothing_not_even_the_time(tmp_path: Path) -> None:
    first = locked(inputs(tmp_path))
    again = locked(replace(inputs(tmp_path), old=first, now=2000))
    assert again == first
    assert again.created == 1000


@pytest.mark.usefixtures("index")
def test_other_pins_stay_when_one_package_is_upgraded(tmp_path: Path) -> None:
    first = locked(inputs(tmp_path, "asked<2\ndependency<2\n"))
    assert (versions(first)["asked"], versions(first)["dependency"]) == ("1.0", "1.0")
    kept = replace(inputs(tmp_path, "asked\ndependency\n"), old=first)
    assert {name: versions(locked(kept))[name] for name in ("asked", "dependency")} == {
        "asked": "1.0",
        "dependency": "1.0",
    }
    one = locked(replace(kept, upgrade=frozenset({"Asked"})))
    assert (versions(one)["asked"], versions(one)["dependency"]) == ("2.0", "1.0")
    every = locked(replace(kept, upgrade=None))
    assert (versions(every)["asked"], versions(every)["dependency"]) == ("2.0", "2.0")


@pytest.mark.usefixtures("index")
def test_a_pin_gives_way_where_a_requirement_has_moved_past_it(tmp_path: Path) -> None:
    first = locked(inputs(tmp_path, "asked<2\n"))
    moved = locked(replace(inputs(tmp_path, "asked>=2\n"), old=first, now=2000))
    assert versions(moved)["asked"] == "2.0"
    assert moved.created == 2000
    assert any(line.startswith("+ linux/arm64: asked 2.0") for line in differences(first, moved))


@pytest.mark.usefixtures("index")
def test_a_misspelt_package_to_upgrade_is_refused(tmp_path: Path) -> None:
    first = locked(inputs(tmp_path))
    with pytest.raises(UsageError, match=r"does not have this package.*Did you mean dependency"):
        locked(replace(inputs(tmp_path), old=first, upgrade=frozenset({"dependancy"})))


@pytest.mark.usefixtures("index")
def test_a_build_renews_a_lock_where_only_the_feature_repo_has_changed_and_refuses_everything_else(
    tmp_path: Path,
) -> None:
    made = locked(inputs(tmp_path))
    store = BlobStore(tmp_path / "cache")

    def fitting(requirements: str, *, exactly: bool = False) -> BundleLock:
        now = inputs(tmp_path, requirements)
        gathered = lockfile.Gathered(now.bases, (), (), cast("OperatorRelease", None))
        return lockfile.fitting(now.project, made, gathered, store, SilentProgress(), epoch=2000, locked=exactly)

    assert fitting("asked\n", exactly=True) == made
    (tmp_path / "repo/features.py").write_text("x = 1\n")
    with pytest.raises(LockError, match="does not fit"):
        fitting("asked\n", exactly=True)
    with pytest.raises(LockError, match="does not fit"):
        fitting("asked>=2\n")
    renewed = fitting("asked\n")
    assert renewed.model_copy(update={"repo": made.repo}) == made
    assert renewed.repo != made.repo
    assert read_lock((tmp_path / "bundle.lock").read_text(), "bundle.lock") == renewed


def stale(made: BundleLock, now: LockInputs) -> tuple[str, ...]:
    return lock.stale(made, now)


@pytest.mark.usefixtures("index")
def test_a_lock_is_stale_when_requirements_repo_or_base_have_changed_and_says_what(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("redis\n")
    made = locked(inputs(tmp_path, "asked\n-r more.txt\n"))
    assert stale(made, inputs(tmp_path, "asked # a comment\n-r more.txt\n")) == ()
    assert stale(made, inputs(tmp_path, "asked>=2\n-r more.txt\n")) == ("- requirement asked", "+ requirement asked>=2")
    (tmp_path / "more.txt").write_text("")
    assert stale(made, inputs(tmp_path, "asked\n-r more.txt\n")) == ("- requirement redis",)
    (tmp_path / "more.txt").write_text("redis\n")
    (tmp_path / "repo/features.py").write_text("x = 1\n")
    changed = stale(made, inputs(tmp_path, "asked\n-r more.txt\n"))
    assert [line[:15] for line in changed] == ["- feature repo ", "+ feature repo "]
    (tmp_path / "repo/features.py").unlink()
    now = inputs(tmp_path, "asked\n-r more.txt\n")
    moved = {
        platform: replace(one, contents=replace(one.contents, debian_packages={"libc6": "2.36-10"}))
        for platform, one in now.bases.items()
    }
    assert "+ libc6 2.36-10" in stale(made, replace(now, bases=moved))


@pytest.mark.usefixtures("index")
def test_a_requirement_file_that_is_missing_is_named(tmp_path: Path) -> None:
    wanted = inputs(tmp_path)
    (tmp_path / "requirements.txt").unlink()
    with pytest.raises(SpecError, match=r"requirements\.txt does not exist"):
        locked(wanted)


@pytest.mark.usefixtures("index")
def test_a_base_without_python_or_with_another_c_library_is_refused(tmp_path: Path) -> None:
    wanted = inputs(tmp_path)
    for change, problem in (
        ({"python": None}, "does not have Python"),
        ({"glibc": None}, "does not have a GNU C library"),
    ):
        bases = {
            platform: replace(one, contents=replace(one.contents, **change))  # type: ignore[arg-type]  # either field
            for platform, one in wanted.bases.items()
        }
        with pytest.raises(SpecError, match=problem):
            locked(replace(wanted, bases=bases))
