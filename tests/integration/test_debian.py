"""Root file systems made by the real mmdebstrap of Debian's packages: they run, and hold nothing of this machine."""

import base64
import dataclasses
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from bundler.effects import base_image
from bundler.effects.blobs import BlobStore
from bundler.effects.debian import host as debian_host
from bundler.effects.debian import images as debian
from bundler.errors import RegistryError, ToolFailedError, ToolMissingError
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.oci.image import Image
from tests.support import forward_proxy, validate

pytestmark = pytest.mark.integration

SUITE = "bookworm"
HERE = next(
    platform
    for platform in map(Platform.parse, ("linux/amd64", "linux/arm64"))
    if platform.machine == os.uname().machine
)
OTHER = Platform.parse("linux/arm64" if HERE.architecture == "amd64" else "linux/amd64")
Run = Callable[..., str]


def _needed(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            if os.environ.get("CI") == "true":
                pytest.fail(f"{program} is not installed")
            pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def store(cache: Path) -> BlobStore:
    _needed("mmdebstrap", "unshare", "chroot")
    return BlobStore(cache)


@pytest.fixture(scope="session")
def base(store: BlobStore) -> debian.DebianBase:
    return debian.make(debian.DebianRequest.base(SUITE, HERE), store, progress=SilentProgress())


@pytest.fixture(scope="session")
def kubectl(store: BlobStore) -> debian.DebianBase:
    return debian.make(debian.DebianRequest.kubectl(SUITE, HERE), store, progress=SilentProgress())


def _unpacked(image: Image, store: BlobStore, root: Path) -> Path:
    with store.open(image.layers[0].descriptor.digest) as packed, tarfile.open(fileobj=packed, mode="r|gz") as archive:
        archive.extractall(root, filter="fully_trusted")  # noqa: S202  (made here; owners and modes stay)
    return root


def _run(root: Path, *command: str, uid: int = 1001) -> str:
    """Run a program of a root file system without network, as a user of group 0 where this is root."""
    user = [f"--userspec={uid}:0"] if os.geteuid() == 0 else []
    namespaces = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/opt/feast", "LANG": "C.UTF-8"}
    done = subprocess.run(
        ["unshare", *namespaces, "chroot", *user, root, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def root(base: debian.DebianBase, store: BlobStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = _unpacked(base.image, store, tmp_path_factory.mktemp("base") / "root")
    yield folder
    shutil.rmtree(folder)


def test_the_base_is_a_valid_image_for_a_user_of_group_0(base: debian.DebianBase, store: BlobStore) -> None:
    assert validate.validate(base.image.descriptor, store.open) == ()
    assert base.image.platform == HERE
    assert base.image.config.user == "1001:0"
    assert base.image.config.env["HOME"] == "/opt/feast"
    assert {"python3", "bash", "ca-certificates", "libc6"} <= set(base.packages)


def test_what_the_base_holds_is_read_off_its_layer(base: debian.DebianBase, store: BlobStore, root: Path) -> None:
    contents = base_image.contents(base.image, store, progress=SilentProgress())
    assert contents.python is not None
    said = _run(root, "python3", "-c", "import sys; print(sys.version.split()[0], sys.executable, *sys.path)").split()
    assert contents.python.full_version == said[0]
    assert contents.python.site_packages in said
    assert os.path.realpath(root / said[1].lstrip("/")) == str(root / contents.python.executable.lstrip("/"))
    assert contents.debian_packages == base.packages
    assert contents.users["feast"] == 1001
    assert contents.has_bash
    libc = _run(root, "python3", "-c", "import platform; print(platform.libc_ver()[1])")
    assert contents.glibc == tuple(int(part) for part in libc.split("."))


@pytest.mark.parametrize("uid", [1001, 1234567])
def test_python_of_the_base_is_whole_for_its_user_and_for_any_other_of_group_0(uid: int, root: Path) -> None:
    program = (
        "import bz2, ctypes, curses, lzma, readline, sqlite3, ssl, uuid, zlib, zoneinfo, pathlib;"
        "zoneinfo.ZoneInfo('Europe/Berlin');"
        "print(ssl.create_default_context().cert_store_stats()['x509_ca'] > 100);"
        "pathlib.Path.home().joinpath('written').write_text('x'); pathlib.Path.home().joinpath('written').unlink()"
    )
    assert _run(root, "python3", "-c", program, uid=uid) == "True"


def test_python_of_the_base_loads_compiled_files_without_reading_their_source(root: Path) -> None:
    compiled = next((root / "usr/lib").glob("python3.*/__pycache__/argparse.*.pyc"))
    assert compiled.read_bytes()[4:8] == b"\1\0\0\0"


def test_nothing_of_this_machine_nor_of_its_mirrors_is_in_the_base(root: Path) -> None:
    assert list((root / "etc/apt").iterdir()) == []
    for folder in ("dev", "var/cache", "var/log", "var/lib/apt", "tmp", "run"):
        assert [path for path in (root / folder).rglob("*") if path.is_file()] == []
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id"):
        assert not (root / name).exists()
    mirrors = {line.split("://")[1].split("/")[0] for line in (debian_host.sources(SUITE) or "").splitlines()}
    marks = {socket.gethostname(), *mirrors} - {"localhost"}
    texts = [path for path in (root / "etc").rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    for path in (*texts, root / "var/lib/dpkg/status"):
        words = set(path.read_bytes().decode(errors="replace").replace("/", " ").split())
        assert not words & marks, path


def test_no_program_of_the_base_runs_as_another_user(root: Path) -> None:
    assert [path for path in root.rglob("*") if path.is_file() and path.lstat().st_mode & 0o6000] == []


def test_copyright_files_stay_and_documentation_goes(root: Path) -> None:
    assert (root / "usr/share/doc/libc6/copyright").exists()
    assert not (root / "usr/share/doc/libc6/changelog.Debian.gz").exists()
    assert list((root / "usr/share/man").rglob("*.gz")) == []


def test_a_base_that_was_made_is_taken_from_the_store(
    base: debian.DebianBase, store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the base was made again")

    monkeypatch.setattr(debian, "_make_layer", refuse)
    again = debian.make(debian.DebianRequest.base(SUITE, HERE), store, progress=SilentProgress())
    assert again.image.descriptor == base.image.descriptor
    assert again.packages == base.packages


@pytest.mark.parametrize("uid", [1001, 1234567])
def test_kubectl_runs_in_its_image(kubectl: debian.DebianBase, store: BlobStore, tmp_path: Path, uid: int) -> None:
    folder = _unpacked(kubectl.image, store, tmp_path / "root")
    assert "Client Version" in _run(folder, "kubectl", "version", "--client", uid=uid)
    assert kubectl.image.config.entrypoint == ("kubectl",)
    assert kubectl.image.config.user == "1001:0"
    assert not (folder / "bin/sh").exists()


def test_the_kubectl_image_says_which_packages_it_holds(kubectl: debian.DebianBase, store: BlobStore) -> None:
    contents = base_image.contents(kubectl.image, store, progress=SilentProgress())
    assert contents.debian_packages == kubectl.packages
    assert {"kubernetes-client", "libc6"} <= set(kubectl.packages)
    assert contents.os_release["ID"] == "debian"
    assert contents.users == {"root": 0, "feast": 1001}


def test_the_same_packages_make_the_same_image_at_another_time_and_place(
    kubectl: debian.DebianBase, store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    old = os.umask(0o077)
    try:
        again = debian.make(
            debian.DebianRequest.kubectl(SUITE, HERE),
            BlobStore(tmp_path / "other"),
            progress=SilentProgress(),
            refresh=True,
        )
    finally:
        os.umask(old)
    if again.packages != kubectl.packages:  # the store is of a day when Debian had other ones
        kubectl = debian.make(debian.DebianRequest.kubectl(SUITE, HERE), store, progress=SilentProgress(), refresh=True)
    assert again.packages == kubectl.packages
    assert again.image.layers == kubectl.image.layers
    assert again.image.descriptor == kubectl.image.descriptor


def test_kubectl_of_a_foreign_platform_is_made_without_running_it(store: BlobStore) -> None:
    made = debian.make(debian.DebianRequest.kubectl(SUITE, OTHER), store, progress=SilentProgress())
    assert made.image.platform == OTHER
    with (
        store.open(made.image.layers[0].descriptor.digest) as packed,
        tarfile.open(fileobj=packed, mode="r|gz") as archive,
    ):
        member = next(member for member in archive if member.name == "usr/bin/kubectl")
        program = archive.extractfile(member)
        assert program is not None
        header = program.read(20)
    # ELF's e_machine, System V ABI: 62 is x86-64, 183 is AArch64.
    assert int.from_bytes(header[18:20], "little") == {"amd64": 62, "arm64": 183}[OTHER.architecture]


def test_a_base_for_a_foreign_platform_without_an_emulator_is_refused(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian_host, "_EMULATORS", tmp_path)
    with pytest.raises(ToolMissingError, match=r"which this .* machine cannot"):
        debian.make(debian.DebianRequest.base(SUITE, OTHER), BlobStore(tmp_path / "cache"), progress=SilentProgress())


def test_a_mirror_that_cannot_be_reached_is_told_and_nothing_is_kept(store: BlobStore, tmp_path: Path) -> None:
    empty = BlobStore(tmp_path / "cache")
    mirrors = ("http://user:secret@127.0.0.1:9/debian",)
    unreachable = dataclasses.replace(debian.DebianRequest.kubectl(SUITE, HERE), mirrors=mirrors)
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        debian.make(unreachable, empty, progress=SilentProgress())
    assert [path for path in empty.root.rglob("*") if path.is_file()] == []
    assert "secret" not in "".join((str(caught.value), *caught.value.details))


def test_a_suite_that_debian_does_not_have_is_told(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(ToolFailedError, match="mmdebstrap failed") as caught:
        debian.make(
            debian.DebianRequest.kubectl("nosuchsuite", HERE), BlobStore(tmp_path / "cache"), progress=SilentProgress()
        )
    assert any("nosuchsuite" in line for line in caught.value.details)
    assert "suite" in caught.value.remedy


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
@pytest.mark.parametrize("password", ["s3cret%2F%40", "wrong"])
def test_the_archive_is_asked_through_a_proxy_with_a_login(
    variable: str, password: str, store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = "Basic " + base64.b64encode(b"me:s3cret/@").decode()

    def rule(_: str, headers: Mapping[str, str]) -> str | None:
        known = headers.get("proxy-authorization") == wanted
        return "404 Not Found" if known else "407 Proxy Authentication Required"

    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with forward_proxy.running({}, rule) as proxy:
        monkeypatch.setenv(variable, f"http://me:{password}@{proxy.address}")
        mirrors = ("http://archive.corp.example/debian",)
        asked = dataclasses.replace(debian.DebianRequest.kubectl(SUITE, HERE), mirrors=mirrors)
        with pytest.raises((RegistryError, ToolFailedError)) as caught:
            debian.make(asked, BlobStore(tmp_path / "cache"), progress=SilentProgress())
    assert any(line.startswith("GET http://archive.corp.example/debian/") for line, _ in proxy.seen)
    details = "\n".join((str(caught.value), *caught.value.details))
    assert ("404" if password != "wrong" else "407") in details
    assert password not in details
