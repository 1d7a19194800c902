"""A package index behind a company's own authority, and behind a proxy with a login."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bundler.effects.blobs import BlobStore
from bundler.effects.packages import index as package_indexes
from bundler.effects.packages import uv, wheelhouse
from bundler.effects.packages.uv import Candidate, Resolution
from bundler.errors import RegistryError, UsageError
from bundler.model.platform import Platform
from bundler.model.progress import SilentProgress
from bundler.wheels.compatibility import ImagePython
from tests.integration.package_index import PackageIndex
from tests.support import forward_proxy
from tests.support.certificates import Authority
from tests.unit.sample_wheels import wheel

pytestmark = pytest.mark.integration
PYTHON = ImagePython((3, 11), "3.11.2", (2, 36), Platform("linux", "amd64"))
NAME = "demo-1.0-py3-none-any.whl"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "authority")


@pytest.fixture
def index(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    content = wheel({"demo.py": ""}, name="demo").getvalue()
    with PackageIndex({NAME: content}, pair=authority.server("index.corp.example")).running() as running:
        monkeypatch.setenv("UV_DEFAULT_INDEX", running.url)
        monkeypatch.setenv("UV_NO_CACHE", "1")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield running


def resolved() -> tuple[Candidate, ...]:
    return uv.resolve(Resolution(PYTHON, requirements=("demo",)))


def fetched(index: PackageIndex, store: BlobStore) -> None:
    wheelhouse.download(
        [Candidate("demo", "1.0", NAME, None, "", f"{index.url}/../files/{NAME}")], store, progress=SilentProgress()
    )


def test_an_authority_that_is_not_known_is_said_with_what_to_do(index: PackageIndex, tmp_path: Path) -> None:
    for act in (resolved, lambda: fetched(index, BlobStore(tmp_path / "cache"))):
        with pytest.raises(RegistryError, match="trusted") as caught:
            act()
        assert "update-ca-certificates" in caught.value.remedy
        assert "--ca-cert" in caught.value.remedy


def test_an_authority_of_the_command_line_is_trusted_by_both(
    index: PackageIndex, authority: Authority, tmp_path: Path
) -> None:
    with package_indexes.trusting((authority.pair.certificate,)):
        assert [found.filename for found in resolved()] == [NAME]
        fetched(index, BlobStore(tmp_path / "cache"))


def test_an_authority_of_the_environment_is_trusted_by_both(
    index: PackageIndex, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pair.certificate))
    assert [found.filename for found in resolved()] == [NAME]
    fetched(index, BlobStore(tmp_path / "cache"))


def test_a_file_that_is_not_an_authority_is_named(index: PackageIndex, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with (
        package_indexes.trusting((tmp_path / "ca.pem",)),
        pytest.raises(UsageError, match=r"ca\.pem cannot be used"),
    ):
        fetched(index, BlobStore(tmp_path / "cache"))


def test_a_proxy_with_a_login_leads_to_the_index(
    index: PackageIndex, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = base64.b64encode(b"me:s3cret/@").decode()

    def rule(_: str, headers: Mapping[str, str]) -> str | None:
        return None if headers.get("proxy-authorization") == f"Basic {login}" else "407 Proxy Authentication Required"

    hosts = {f"index.corp.example:{index.port}": ("127.0.0.1", index.port)}
    url = f"https://index.corp.example:{index.port}/simple"
    with forward_proxy.running(hosts, rule) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret%2F%40@{proxy.address}")
        monkeypatch.setenv("UV_DEFAULT_INDEX", url)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.pair.certificate))
        assert [found.filename for found in resolved()] == [NAME]
        wheelhouse.download(
            [Candidate("demo", "1.0", NAME, None, "", url.replace("simple", f"files/{NAME}"))],
            BlobStore(tmp_path / "cache"),
            progress=SilentProgress(),
        )
        assert {line.split()[0] for line, _ in proxy.seen} == {"CONNECT"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"PIP_INDEX_URL": "https://a.example/simple"}, {"UV_DEFAULT_INDEX": "https://a.example/simple"}),
        ({"UV_INDEX_URL": "https://a.example/simple"}, {"PIP_INDEX_URL": "https://a.example/simple"}),
        (
            {"UV_DEFAULT_INDEX": "corp=https://a.example/simple", "PIP_INDEX_URL": "https://b.example/simple"},
            {"UV_DEFAULT_INDEX": "corp=https://a.example/simple", "PIP_INDEX_URL": "https://b.example/simple"},
        ),
    ],
)
def test_both_installers_of_make_are_told_what_either_is_configured_with(
    given: dict[str, str], expected: dict[str, str], tmp_path: Path
) -> None:
    show = [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"]
    done = subprocess.run(
        [sys.executable, "-I", ROOT / "tests/setup/configured.py", *show],
        env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **given},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert {name: told.get(name) for name in expected} == expected


LOGIN = ("someone", "hunter2")


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    """An index that wants a login, as old ones are: HTML, without sizes, hashes, metadata and ranges."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX", "PIP_INDEX_URL", "PIP_FIND_LINKS", "NETRC", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    content = wheel({"demo.py": ""}, name="demo").getvalue()
    index = PackageIndex({NAME: content}, login=LOGIN, with_sizes=False, with_hashes=False, with_ranges=False)
    with index.running() as running:
        yield running


def configured(place: str, index: PackageIndex, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the index and its login where a site may."""
    (home / ".config/pip").mkdir(parents=True)
    (home / ".config/uv").mkdir()
    match place:
        case "pip.conf":
            (home / ".config/pip/pip.conf").write_text(f"[global]\nindex-url = {index.url_with_login}\n")
        case "uv.toml":
            text = f'[[index]]\nurl = "{index.url_with_login}"\ndefault = true\n'
            (home / ".config/uv/uv.toml").write_text(text)
        case "netrc":
            (home / ".netrc").write_text(f"machine 127.0.0.1 login {LOGIN[0]} password {LOGIN[1]}\n")
            (home / ".netrc").chmod(0o600)
            monkeypatch.setenv("PIP_INDEX_URL", index.url)
        case "variables of a named index":
            monkeypatch.setenv("UV_DEFAULT_INDEX", f"corp={index.url}")
            monkeypatch.setenv("UV_INDEX_CORP_USERNAME", LOGIN[0])
            monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", LOGIN[1])
        case variable:
            monkeypatch.setenv(variable, index.url_with_login)


@pytest.mark.parametrize(
    "place", ["pip.conf", "uv.toml", "netrc", "variables of a named index", "UV_INDEX_URL", "PIP_INDEX_URL"]
)
def test_the_login_of_a_private_index_may_stand_in_any_usual_place(
    place: str, private: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(place, private, tmp_path, monkeypatch)
    found = resolved()
    assert [candidate.filename for candidate in found] == [NAME]
    (locked,) = wheelhouse.lock(found, BlobStore(tmp_path / "cache"), progress=SilentProgress())
    assert locked.size == len(private.wheels[NAME])
