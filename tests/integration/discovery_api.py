"""What ``kubectl apply --dry-run=client`` asks a cluster: which kinds exist, and that no object does yet."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# group/version -> kind -> (plural, whether it lies in a namespace)
KINDS = {
    "v1": {
        "Namespace": ("namespaces", False),
        "ServiceAccount": ("serviceaccounts", True),
        "Secret": ("secrets", True),
        "ConfigMap": ("configmaps", True),
        "Service": ("services", True),
    },
    "apps/v1": {"Deployment": ("deployments", True)},
    "rbac.authorization.k8s.io/v1": {
        "Role": ("roles", True),
        "RoleBinding": ("rolebindings", True),
        "ClusterRole": ("clusterroles", False),
        "ClusterRoleBinding": ("clusterrolebindings", False),
    },
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": ("customresourcedefinitions", False)},
    "networking.k8s.io/v1": {"NetworkPolicy": ("networkpolicies", True), "Ingress": ("ingresses", True)},
    "feast.dev/v1": {"FeatureStore": ("featurestores", True)},
    "route.openshift.io/v1": {"Route": ("routes", True)},
    "monitoring.coreos.com/v1": {"ServiceMonitor": ("servicemonitors", True)},
}


def _groups() -> list[dict[str, object]]:
    versions = [name for name in KINDS if "/" in name]
    return [
        {
            "name": name.split("/")[0],
            "versions": [{"groupVersion": name, "version": name.split("/")[1]}],
            "preferredVersion": {"groupVersion": name, "version": name.split("/")[1]},
        }
        for name in versions
    ]


def _resources(group_version: str) -> dict[str, object]:
    verbs = ["create", "get", "list", "patch", "update"]
    rows = [
        {"name": plural, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": verbs}
        for kind, (plural, namespaced) in KINDS[group_version].items()
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": rows}


def _answer(path: str) -> dict[str, object] | None:
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups()}
        case ["api", "v1"]:
            return _resources("v1")
        case ["apis", group, version] if f"{group}/{version}" in KINDS:
            return _resources(f"{group}/{version}")
    return None


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = _answer(self.path.partition("?")[0])
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(missing if answer is None else answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """Serve on a free port of the loopback interface; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
