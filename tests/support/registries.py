"""Real registries (docker-registry) on loopback ports: plain, with TLS, with logins, with a token server."""

from __future__ import annotations

import ctypes
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from tests.support.certificates import Authority, Pair
from tests.support.programs import free_port as free_port  # noqa: PLC0414  (tests of registries take it from here)
from tests.support.programs import require as require  # noqa: PLC0414
from tests.support.programs import shown

PROGRAM = "docker-registry"
_START = 20.0  # seconds


@dataclass(frozen=True)
class TokenAuth:
    """Who gives tokens, and the certificate that they are signed with."""

    realm: str
    service: str
    issuer: str
    certificate: Path


@dataclass
class RunningRegistry:
    """A registry that runs; ``address`` is HOST:PORT."""

    folder: Path
    port: int
    authority: Authority | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [require(PROGRAM), "serve", self.folder / "config.yml"], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("docker-registry did not start")

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def blobs(self) -> set[str]:
        """Return the hexadecimal digests of all blobs that the registry keeps, manifests included."""
        return {path.parent.name for path in (self.data / "docker/registry/v2/blobs/sha256").glob("*/*/data")}

    def tags(self, repository: str) -> set[str]:
        folder = self.data / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def manifest(self, repository: str, reference: str) -> bytes:
        """Return a manifest, byte for byte, from a registry without logins and TLS."""
        url = f"http://{self.address}/v2/{repository}/manifests/{reference}"
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        accept += ", application/vnd.docker.distribution.manifest.v2+json"
        accept += ", application/vnd.docker.distribution.manifest.list.v2+json"
        answer = urllib3.request("GET", url, headers={"Accept": accept})
        assert answer.status == 200, answer.data
        return answer.data


@contextmanager
def running(
    folder: Path,
    *,
    tls: Pair | None = None,
    authority: Authority | None = None,
    client_ca: Path | None = None,
    logins: Mapping[str, str] | None = None,
    token: TokenAuth | None = None,
) -> Iterator[RunningRegistry]:
    """Run a registry whose data lie below ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    registry = RunningRegistry(folder, free_port(), authority)
    http: dict[str, object] = {"addr": registry.address, "secret": "shared"}
    if tls:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
        if client_ca:
            http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key), "clientcas": [str(client_ca)]}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(registry.data)}, "delete": {"enabled": True}},
        "http": http,
    }
    if logins:
        (folder / "htpasswd").write_text("".join(f"{user}:{_bcrypt(word)}\n" for user, word in logins.items()))
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    if token:
        config["auth"] = {
            "token": {
                "realm": token.realm,
                "service": token.service,
                "issuer": token.issuer,
                "rootcertbundle": str(token.certificate),
            }
        }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    try:
        with shown(f"{PROGRAM} {registry.address}", folder / "log"):
            registry.start()
            yield registry
    finally:
        registry.stop()


def _bcrypt(password: str) -> str:
    """Hash a password as docker-registry wants it; the C library can, Python's own module is deprecated."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed: bytes = library.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu")
    return hashed.decode()


def auth_file(path: Path, logins: Mapping[str, tuple[str, str]]) -> Path:
    """Write a file of logins (host -> user, password) as Docker and Podman do."""
    import base64  # noqa: PLC0415

    auths = {
        host: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for host, (user, password) in logins.items()
    }
    path.write_text(json.dumps({"auths": auths}))
    return path
