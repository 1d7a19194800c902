"""A real Kubernetes API server with its etcd on loopback; nothing that would run a pod."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3

from tests.support.programs import free_port, require, serving

ADMIN, TENANT = "secret-of-the-admin", "secret-of-the-tenant"


@dataclass
class RunningApi:
    """The server; ``kubeconfig`` is the admin's, ``tenant`` that of a user without any rights of her own."""

    folder: Path
    port: int
    program: Path
    etcd: str

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def tenant(self) -> Path:
        return self.folder / "tenant.kubeconfig"

    def kubectl(self, *arguments: str, content: object = None) -> str:
        """Run kubectl as the admin and return its output; ``content`` goes to it as JSON."""
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=None if content is None else json.dumps(content),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """Return what ``kubectl get`` finds, None where nothing is."""
        found = self.kubectl("get", *arguments, "--ignore-not-found", "--output=json")
        return json.loads(found) if found else None

    def apply(self, *objects: object) -> None:
        """Apply objects as they are."""
        self.kubectl("apply", "--server-side", "--validate=false", "-f", "-", content=_list(objects))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server for a while; what it was told is in etcd, which runs on."""
        command = [
            str(self.program),
            f"--etcd-servers={self.etcd}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--secure-port={self.port}",
            *("--bind-address=127.0.0.1", "--advertise-address=192.0.2.1"),  # without a route it finds none by itself
            f"--service-account-key-file={self.folder / 'accounts.key'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",
        ]
        with serving(command, self.folder / "api.log", lambda: self.serves("/readyz")):
            yield

    def serves(self, path: str) -> bool:
        """Tell whether the server answers at a path, and well."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", "get", "--raw", path]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@contextmanager
def set_up(folder: Path, program: Path) -> Iterator[RunningApi]:
    """Run etcd for an API server whose files lie in ``folder``; the server itself is not started yet."""
    folder.mkdir(parents=True)
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    subprocess.run(
        [require("openssl"), "genrsa", "-out", folder / "accounts.key", "2048"], check=True, capture_output=True
    )
    (folder / "tokens.csv").write_text(f"{ADMIN},admin,1,system:masters\n{TENANT},tenant,2\n")
    api = RunningApi(folder, free_port(), program, client)
    for path, token in ((api.kubeconfig, ADMIN), (api.tenant, TENANT)):
        path.write_text(json.dumps(_kubeconfig(api.port, token)))
        path.chmod(0o600)
    command = [
        *(require("etcd"), f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={client}"),
        *(f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", "--unsafe-no-fsync"),
    ]
    with serving(command, folder / "etcd.log", lambda: _etcd_answers(client)):
        yield api


def _etcd_answers(client: str) -> bool:
    with urllib3.PoolManager(retries=False) as pool, suppress(urllib3.exceptions.HTTPError):
        return pool.request("GET", f"{client}/health").status == HTTPStatus.OK
    return False


def _kubeconfig(port: int, token: str) -> dict[str, Any]:
    cluster = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }


def _list(objects: tuple[object, ...]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}


BUILT = Path(os.environ.get("BUNDLER_TEST_CLUSTER", "/nowhere"))
"""Where tests/setup/cluster.sh put the API server and the bundles."""
