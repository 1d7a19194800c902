"""kubectl, or oc: the only way to the cluster, with whatever credentials the person has there."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler.effects import process
from bundler.errors import ClusterError, ClusterUnreachableError, ForbiddenError, ToolFailedError, ToolMissingError
from bundler.model.descriptor import Json

FIELD_MANAGER: Final = "bundler"
"""Who sets the fields, in the words of server-side apply."""
_PATIENCE: Final = 120.0  # seconds for one request
_ABSENT: Final = re.compile(r"\(NotFound\)|could not find the requested resource")
_UNKNOWN_KIND: Final = re.compile(r"no matches for kind|the server doesn't have a resource type")
_FAULTS: Final[tuple[tuple[re.Pattern[str], type[ClusterError], str, str], ...]] = (
    (
        re.compile(r"Unauthorized|must be logged in|certificate has expired|token is expired", re.IGNORECASE),
        ClusterUnreachableError,
        "The cluster does not know you, or no longer.",
        "Log in again (oc login, or a new kubeconfig), and repeat.",
    ),
    (
        re.compile(r"Forbidden|cannot (get|list|create|patch|update|delete|watch) resource", re.IGNORECASE),
        ForbiddenError,
        "The cluster does not let you do this.",
        "Let somebody with the rights run it, or have them granted; the details name verb, resource and namespace.",
    ),
    (
        re.compile(
            r"connection refused|no such host|i/o timeout|was refused|TLS handshake|no route|EOF$|unable to connect"
            r"|x509:|context deadline",
            re.IGNORECASE,
        ),
        ClusterUnreachableError,
        "The cluster cannot be reached.",
        "Try: kubectl version. Is this the right --context, and the proxy off for it?",
    ),
    (
        re.compile(r"Apply failed with \d+ conflict|conflicts? with ", re.IGNORECASE),
        ClusterError,
        "Somebody else manages fields that the bundle sets.",
        "See who in the details; to take them over repeat with --force-conflicts.",
    ),
    (
        re.compile(r"no matches for kind|the server doesn't have a resource type", re.IGNORECASE),
        ClusterError,
        "The cluster does not know a kind of object that the bundle has.",
        "Is the operator installed, in a version that serves feast.dev/v1? An admin runs install with the operator.",
    ),
)


@dataclass(frozen=True)
class Kubectl:
    """A program, and the options that lead it to the cluster."""

    program: str
    options: tuple[str, ...] = ()

    @classmethod
    def find(cls, program: str | None = None, *, kubeconfig: str | None = None, context: str | None = None) -> Kubectl:
        """Return the program that was named, else kubectl, else oc; that there is none shows when it is first run."""
        names = [program] if program else ["kubectl", "oc"]
        found = next((name for name in names if shutil.which(name)), names[0])
        options = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        options += [f"--context={context}"] if context else []
        options += [] if os.environ.get("HOME") else [f"--cache-dir={_cache()}"]
        return cls(found, tuple(options))

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Json] | None:
        """Return an object, None where it is not there; ``kind`` as kubectl takes it, e.g. ``deployments.apps``."""
        arguments = ["get", kind, name, "--ignore-not-found", "--output=json", *_within(namespace)]
        return _object(self._run(arguments, purpose=f"reading {kind} {name}"))

    def listed(self, kind: str, namespace: str | None, selector: str = "") -> tuple[dict[str, Json], ...]:
        """Return the objects of a kind in a namespace (None: in the cluster), those with the labels of ``selector``."""
        arguments = [
            "get",
            kind,
            "--output=json",
            *(_within(namespace) or ["--all-namespaces"]),
            *([f"--selector={selector}"] if selector else []),
        ]
        return _items(self._run(arguments, purpose=f"listing {kind}"))

    def server(self) -> str:
        """Return the address of the cluster that this leads to, as the kubeconfig has it; nobody is asked."""
        found = json.loads(self._run(["config", "view", "--minify", "--output=json"], purpose="reading the kubeconfig"))
        clusters = found.get("clusters") or [{}]
        return str(clusters[0].get("cluster", {}).get("server", "of no address"))

    def version(self) -> str:
        """Return the version of the API server, e.g. ``v1.32.1``."""
        return str(json.loads(self._run(["get", "--raw", "/version"], purpose="asking who is there")).get("gitVersion"))

    def resources(self, version: str) -> Mapping[str, str]:
        """Return kind -> resource (plural) that the cluster serves in an API version, e.g. ``feast.dev/v1`` or ``v1``.

        Nothing where it does not serve that version.
        """
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            found = json.loads(self._run(["get", "--raw", path], purpose="asking what the cluster knows"))
        except ClusterError as error:
            if any(_ABSENT.search(line) for line in error.details):
                return {}
            raise
        rows = [one for one in found.get("resources", ()) if "/" not in one["name"]]
        return {one["kind"]: one["name"] for one in rows}

    def reviewed(self, reviews: Sequence[Mapping[str, Json]]) -> tuple[bool, ...]:
        """Ask what this person may do: for each of the ``resourceAttributes`` whether it is allowed.

        The question of ``kubectl auth can-i`` (SelfSubjectAccessReview), many at a time.
        """
        api: dict[str, Json] = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        objects: list[dict[str, Json]] = [{**api, "spec": {"resourceAttributes": dict(one)}} for one in reviews]
        arguments = ["create", "--validate=false", "--output=json", "--filename=-"]
        answers = _items(self._run(arguments, purpose="asking what you may do", objects=objects))
        allowed = tuple(bool(_status(answer).get("allowed")) for answer in answers)
        if len(allowed) != len(reviews):
            raise ClusterError(f"The cluster answered {len(allowed)} of {len(reviews)} questions about your rights.")
        return allowed

    def execute(self, pod: str, container: str, namespace: str, command: Sequence[str], stdin: bytes) -> str:
        """Run a command in a container of ``pod`` (a pod, or ``deployments/NAME``), and return what it printed."""
        place = [f"--container={container}", *_within(namespace)]
        arguments = ["exec", "--stdin", pod, *place, "--", *command]
        return self._run(arguments, purpose=f"running a program in {pod}", stdin=stdin)

    def existing(self, objects: Sequence[Mapping[str, Json]]) -> tuple[dict[str, Json], ...]:
        """Return those of the objects that are there, as the cluster has them."""
        arguments = ["get", "--ignore-not-found", "--output=json", "--filename=-"]
        return _items(self._run(arguments, purpose="reading what is there", objects=objects))

    def apply(
        self, objects: Sequence[Mapping[str, Json]], *, dry_run: bool = False, force: bool = False
    ) -> tuple[dict[str, Json], ...]:
        """Apply objects by server-side apply, and return them as the cluster then has them (or would have them).

        Raises:
            ClusterError: what the server said is in its details. Earlier objects of the same call may be applied.
        """
        # What kubectl checks itself is no help: for servers before 1.25 it refuses resources that leave out what has a
        # default. Fields that a CRD does not know are found by preflight, and by lint before.
        arguments = ["apply", "--server-side", "--validate=false", f"--field-manager={FIELD_MANAGER}"]
        arguments += ["--output=json", "--filename=-"]
        arguments += ["--dry-run=server"] if dry_run else []
        arguments += ["--force-conflicts"] if force else []
        return _items(self._run(arguments, purpose="applying objects", objects=objects))

    def delete(self, objects: Sequence[Mapping[str, Json]], *, timeout: float) -> tuple[str, ...]:
        """Delete objects and wait until they are gone; return those that were there, a line each.

        Raises:
            ClusterError: one was not gone in ``timeout`` seconds, or the cluster refused.
        """
        arguments = ["delete", "--ignore-not-found", f"--timeout={timeout:g}s", "--output=name", "--filename=-"]
        try:
            output = self._run(arguments, purpose="deleting objects", objects=objects, patience=timeout + _PATIENCE)
        except ClusterError as error:
            # With its definition all of a kind are gone.
            if len(objects) == 1 and any(_UNKNOWN_KIND.search(line) for line in error.details):
                return ()
            raise
        return tuple(output.split())

    def disown(self, kind: str, name: str, namespace: str) -> bool:
        """Take an object from its owners, so that it stays when they go; False where it is not there.

        Raises:
            ClusterError: the cluster refused or cannot be reached.
        """
        if self.get(kind, name, namespace) is None:
            return False
        patch = json.dumps({"metadata": {"ownerReferences": None}})
        arguments = ["patch", kind, name, "--type=merge", f"--patch={patch}", *_within(namespace)]
        self._run(arguments, purpose=f"keeping {kind} {name}")
        return True

    def logs(self, pod: str, container: str, namespace: str, *, previous: bool) -> tuple[str, ...]:
        """Return the last lines of a container, none where it has none yet."""
        arguments = ["logs", pod, f"--container={container}", "--tail=15", *_within(namespace)]
        try:
            return tuple(
                self._run([*arguments, *(["--previous"] if previous else [])], purpose="reading logs").splitlines()
            )
        except ClusterError:
            return ()

    def _run(
        self,
        arguments: Sequence[str],
        *,
        purpose: str,
        objects: Sequence[Mapping[str, Json]] | None = None,
        stdin: bytes | None = None,
        patience: float = _PATIENCE,
    ) -> str:
        # Objects only on standard input: a Secret would be seen in the list of processes.
        if objects is not None:
            stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}).encode()
        if shutil.which(self.program) is None:
            missing = "Neither kubectl nor oc is" if self.program == "kubectl" else f"{self.program} is not"
            raise ToolMissingError(f"{missing} on PATH.", remedy="Install one of them, or name it: --kubectl PATH.")
        command = [self.program, *self.options, "--request-timeout=60s", *arguments]
        try:
            return process.run(command, purpose=purpose, stdin=stdin, timeout=patience).stdout
        except ToolFailedError as error:
            raise _explained(error) from error


def _explained(error: ToolFailedError) -> ClusterError:
    said = "\n".join(error.details)
    for pattern, kind, sentence, remedy in _FAULTS:
        if pattern.search(said):
            return kind(sentence, remedy=remedy, details=error.details)
    return ClusterError(str(error), details=error.details)


def _status(found: Mapping[str, Json]) -> Mapping[str, Json]:
    status = found.get("status")
    return status if isinstance(status, dict) else {}


def _within(namespace: str | None) -> list[str]:
    return [f"--namespace={namespace}"] if namespace else []


def _items(output: str) -> tuple[dict[str, Json], ...]:
    """Read what kubectl prints: a list, one object, several after each other, or nothing."""
    found: list[dict[str, Json]] = []
    decoder, rest = json.JSONDecoder(), output.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found += value["items"] if str(value.get("kind", "")).endswith("List") and "items" in value else [value]
        rest = rest[end:].lstrip()
    return tuple(found)


def _object(output: str) -> dict[str, Json] | None:
    return next(iter(_items(output)), None)


def _cache() -> str:
    """Return a folder for what kubectl keeps of the cluster: without a home it would write into the current one."""
    folder = tempfile.mkdtemp(prefix="bundler-kubectl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
