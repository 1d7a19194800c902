"""Read features back through the online server, and compare them with what was materialized."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bundler import resources
from bundler.feast.emulation.pods import EmulatedService
from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status
from bundler.steps.rehearsal.emulated_cluster import RunningPod
from bundler.steps.rehearsal.feature_stores import EmulatedFeatureStore
from bundler.steps.rehearsal.pod_network import PodNetwork

_REGISTRY_SECONDS: Final = 600.0  # what Feast takes where cache_ttl_seconds is not set
_MORE: Final = 15.0
_AGAIN: Final = 2.0
_OK: Final = 200
_NOT_FOUND: Final = 404
_SHOWN: Final = 10


@dataclass(frozen=True)
class ReadBack:
    """Queries to the online server of a running pod; ``authority`` (PEM) signed the servers' certificates."""

    network: PodNetwork
    running: RunningPod
    feature_store: EmulatedFeatureStore
    authority: str

    def features(self) -> Iterator[Finding]:
        """Yield a finding for each feature view that is served online."""
        online = next((service for service in self.feature_store.services if service.server == "online"), None)
        if online is None:
            lines = ("this pod has no online server",)
            yield Finding("online", "Online features were not read", Status.NOT_APPLICABLE, lines)
            return
        argv = ("python3", "-c", resources.read("rehearsal/expected.py").decode())
        ran = self.running.container(self.running.pod.exec_target.name).run(argv)
        if ran.status != 0:
            yield Finding(
                "online", "The materialized rows cannot be read from the offline store", Status.FAIL, ran.last_lines
            )
            return
        try:
            views = expected_views(ran.output)
        except ValueError as error:
            title = "The materialized rows cannot be read: the image's Python printed something else"
            yield Finding("online", title, Status.FAIL, (str(error), *ran.last_lines))
            return
        if not views:
            lines = ("the Feast registry has no feature view with online=True",)
            yield Finding("online", "There are no online features to read", Status.NOT_APPLICABLE, lines)
        for view in views:
            if view["rows"]:
                yield self._compared(online, view)
            else:
                lines = (view.get("problem") or f"the source has no rows from {view['from']} to {view['to']}",)
                yield Finding("online", f"{view['view']}: nothing to compare", Status.MANUAL, lines)

    def _compared(self, online: EmulatedService, view: Mapping[str, Any]) -> Finding:
        names: list[str] = view["features"]
        rows: list[dict[str, Json]] = view["rows"]
        body = {
            "features": [f"{view['view']}:{name}" for name in names],
            "entities": {key: [row[key] for row in rows] for key in view["keys"]},
        }
        url = f"{'https' if online.tls else 'http'}://{online.host}:{online.port}/get-online-features"
        status, text, waited = self._post(url, json.dumps(body), self.authority if online.tls else None)
        title = f"{view['view']}: /get-online-features returns what was materialized"
        if status != _OK:
            return Finding("online", title, Status.FAIL, (f"POST {url}: status {status}", text[:600]))
        wrong = _differences(rows, names, text)
        if wrong:
            return Finding("online", title, Status.FAIL, wrong[:_SHOWN])
        delay = f", {waited:.0f} s after the CronJob: the server served from its cached Feast registry until then"
        seen = f"POST {url}: status {status}" + (delay if waited > _AGAIN else "")
        return Finding("online", title, Status.PASS, (seen, *(json.dumps(row, default=str) for row in rows)))

    def _post(self, url: str, body: str, authority: str | None) -> tuple[int, str, float]:
        """Return status and text of the answer, and after how many seconds it came.

        A server learns what was applied after it started only when its cached Feast registry expires.
        """
        started, limit = time.monotonic(), _registry_seconds(self.feature_store.config) + _MORE
        while True:
            status, text = self.network.ask(self.running.relay, url, body, authority)
            waited = time.monotonic() - started
            if status != _NOT_FOUND or waited > limit:
                return status, text, waited
            time.sleep(_AGAIN)


def expected_views(output: str) -> list[dict[str, Any]]:
    """Return what ``expected.py`` printed last; raise ``ValueError`` for anything else that an image prints."""
    try:
        answer = json.loads(output.strip().splitlines()[-1])
    except (IndexError, RecursionError) as error:
        raise ValueError("no JSON") from error
    views = answer.get("views") if isinstance(answer, dict) else None
    for view in views if isinstance(views, list) else [None]:
        match view:
            case {"view": str(), "rows": []}:
                continue
            case {"view": str(), "rows": [*rows], "features": [*names], "keys": [*keys]} if all(
                isinstance(name, str) for name in (*names, *keys)
            ):
                if all(isinstance(row, dict) and row.keys() >= {*names, *keys} for row in rows):
                    continue
        raise ValueError(f"not rows of feature views: {output[-200:]!r}")
    return list(views or [])


def _differences(rows: list[dict[str, Json]], names: list[str], text: str) -> tuple[str, ...]:
    """Return how an answer of Feast's ``/get-online-features`` differs from the materialized rows, a line each."""
    try:
        answer = json.loads(text)
        results = zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
        columns: dict[str, list[Json]] = {name: result["values"] for name, result in results}
    except (ValueError, KeyError, TypeError):
        return (f"this is not an answer of an online server: {text[:200]}",)
    lacking = [f"{name} is not in the answer" for name in names if len(columns.get(name, ())) != len(rows)]
    if lacking:
        return tuple(lacking)
    return tuple(
        f"{name} of row {number}: {row[name]!r} was materialized, {columns[name][number]!r} is served"
        for name in names
        for number, row in enumerate(rows)
        if not _same(row[name], columns[name][number])
    )


def _registry_seconds(config: Mapping[str, Json]) -> float:
    """Return for how long servers cache the Feast registry."""
    registry = config.get("registry")
    seconds = registry.get("cache_ttl_seconds") if isinstance(registry, dict) else None
    return float(seconds) if isinstance(seconds, (int, float)) else _REGISTRY_SECONDS


def _same(materialized: Json, served: Json) -> bool:
    # The servers keep 32 bits of some numbers.
    if isinstance(materialized, float) and isinstance(served, (int, float)):
        return math.isclose(materialized, served, rel_tol=1e-6, abs_tol=1e-9)
    return materialized == served
