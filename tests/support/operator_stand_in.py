"""In the place of operator, controllers and kubelet: says through a real API server what these would have done.

It runs no container. For each FeatureStore it makes the Deployment and the CronJob that the operator makes, as far as
an install looks at them, and writes statuses: pods available, phase Ready, Jobs complete.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.support.api_server import RunningApi

_AVAILABLE = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}


@contextmanager
def operating(api: RunningApi) -> Iterator[None]:
    """Work in the background until the block ends."""
    ended = threading.Event()
    thread = threading.Thread(target=_loop, args=(api, ended))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _loop(api: RunningApi, ended: threading.Event) -> None:
    while not ended.wait(0.3):
        # The server is stopped just now, or an object is gone again: as for a controller, there is a next time.
        with suppress(AssertionError, TypeError):
            _look(api)


def _look(api: RunningApi) -> None:
    for store in api.get("featurestores.feast.dev", "--all-namespaces")["items"]:
        _reconcile(api, store)
    for job in api.get("jobs", "--all-namespaces")["items"]:
        _status(api, job, "jobs", {"conditions": [{"type": "Complete", "status": "True"}]})


def _reconcile(api: RunningApi, store: dict[str, Any]) -> None:
    name, namespace = f"feast-{store['metadata']['name']}", store["metadata"]["namespace"]
    image = store["spec"]["services"]["onlineStore"]["server"]["image"]
    owner = {key: store["metadata"][key] for key in ("name", "uid")} | {
        "apiVersion": "feast.dev/v1",
        "kind": "FeatureStore",
    }
    metadata = {"name": name, "namespace": namespace, "ownerReferences": [owner]}
    labels = {"feast.dev/name": store["metadata"]["name"]}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "online", "image": image}]}}
    deployment = {"selector": {"matchLabels": labels}, "template": pod}
    run = {"containers": [{"name": "apply", "image": image}], "restartPolicy": "Never"}
    cron_job = {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": {"spec": run}}}}
    found = api.get("deployments", name, f"--namespace={namespace}")
    if found is None or found["spec"]["template"]["spec"]["containers"][0]["image"] != image:
        api.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
            {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": metadata, "spec": cron_job},
        )
        found = api.get("deployments", name, f"--namespace={namespace}")
    _status(api, found, "deployments", {**_AVAILABLE, "observedGeneration": found["metadata"]["generation"]})
    _status(api, store, "featurestores.feast.dev", {"phase": "Ready"})


def _status(api: RunningApi, found: dict[str, Any], kind: str, status: dict[str, Any]) -> None:
    metadata = found["metadata"]
    if all(found.get("status", {}).get(key) == value for key, value in status.items()):
        return
    patch = json.dumps({"status": status})
    place = f"--namespace={metadata['namespace']}"
    api.kubectl("patch", kind, metadata["name"], place, "--subresource=status", "--type=merge", f"--patch={patch}")
