"""Runs kubectl or oc, the only programs that talk to the cluster; they use the credentials of the user."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.effects import files, process
from bundler.errors import ClusterError, ClusterUnreachableError, ForbiddenError, ToolFailedError, ToolMissingError
from bundler.kube.names import ApiVersion, DnsLabel, PathSegment
from bundler.kube.objects import KubeObject
from bundler.model.descriptor import Json

FIELD_MANAGER: Final = "bundler"
"""The field manager of server-side apply."""
_REQUEST_TIMEOUT: Final = 120.0  # seconds for one request
_ABSENT: Final = re.compile(r"\(NotFound\)|could not find the requested resource")
_UNKNOWN_KIND: Final = re.compile(r"no matches for kind|the server doesn't have a resource type")
_FAULTS: Final[tuple[tuple[re.Pattern[str], type[ClusterError], str, str], ...]] = (
    (
        re.compile(r"Unauthorized|must be logged in|certificate has expired|token is expired", re.IGNORECASE),
        ClusterUnreachableError,
        "The cluster rejects your credentials: they are missing, wrong or expired.",
        "Log in again (oc login, or a new kubeconfig), then run the same command again.",
    ),
    (
        re.compile(r"Forbidden|cannot (get|list|create|patch|update|delete|watch) resource", re.IGNORECASE),
        ForbiddenError,
        "The cluster does not let you do this.",
        "Ask an administrator for the permission, or to run this; the details name verb, resource and namespace.",
    ),
    (
        re.compile(
            r"connection refused|no such host|i/o timeout|was refused|TLS handshake|no route|EOF$|unable to connect"
            r"|x509:|context deadline",
            re.IGNORECASE,
        ),
        ClusterUnreachableError,
        "The cluster cannot be reached.",
        "Run kubectl version; check --context, the network, and that the cluster is not behind a proxy.",
    ),
    (
        re.compile(r"Apply failed with \d+ conflict|conflicts? with ", re.IGNORECASE),
        ClusterError,
        "Another field manager owns fields that the bundle sets.",
        "The details name it; to take the fields over, repeat with --force-conflicts.",
    ),
    (
        re.compile(r"no matches for kind|the server doesn't have a resource type", re.IGNORECASE),
        ClusterError,
        "The cluster does not serve a kind of object that the bundle has.",
        "Check that a Feast operator that serves feast.dev/v1 is installed; an administrator installs one.",
    ),
)


@dataclass(frozen=True)
class Kubectl:
    """A program, and the options that select the cluster."""

    program: str
    options: tuple[str, ...] = ()

    @classmethod
    def find(cls, program: str | None = None, *, kubeconfig: str | None = None, context: str | None = None) -> Kubectl:
        """Return the named program, else kubectl, else oc; the first call reports a missing program."""
        names = [program] if program else ["kubectl", "oc"]
        program = next((name for name in names if shutil.which(name)), names[0])
        if kubeconfig:  # kubectl would take a missing file for an empty one, and wait for a pipe
            files.read_content(Path(kubeconfig), "the kubeconfig", remedy="Name a kubeconfig that you may read.")
        options = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        options += [f"--context={context}"] if context else []
        options += [] if os.environ.get("HOME") else [f"--cache-dir={_cache()}"]
        return cls(program, tuple(options))

    def get(self, kind: str, name: str, namespace: str | None = None) -> KubeObject | None:
        """Return an object, None where it is not there; ``kind`` as kubectl takes it, e.g. ``deployments.apps``."""
        arguments = ["get", "--ignore-not-found", "--output=json", *_within(namespace), "--", *_operands(kind, name)]
        return _object(self._run(arguments, purpose=f"reading {kind} {name}"))

    def listed(self, kind: str, namespace: str | None, selector: str = "") -> tuple[KubeObject, ...]:
        """Return the objects of a kind in a namespace (None: in the cluster), those with the labels of ``selector``."""
        arguments = [
            "get",
            "--output=json",
            *(_within(namespace) or ["--all-namespaces"]),
            *([f"--selector={selector}"] if selector else []),
            "--",
            *_operands(kind),
        ]
        return _items(self._run(arguments, purpose=f"listing {kind}"))

    def server(self) -> str:
        """Return the address of the selected cluster, as the kubeconfig has it, without a request."""
        config = _parsed(self._run(["config", "view", "--minify", "--output=json"], purpose="reading the kubeconfig"))
        addresses = [row.text("cluster", "server") for row in config.rows("clusters")]
        return next(filter(None, addresses), "without an address in the kubeconfig")

    def version(self) -> str:
        """Return the version of the API server, e.g. ``v1.32.1``."""
        return _parsed(self._run(["get", "--raw", "/version"], purpose="reading the server's version")).text(
            "gitVersion"
        )

    def resources(self, version: str) -> Mapping[str, str]:
        """Return kind -> resource (plural) that the cluster serves in an API version, e.g. ``feast.dev/v1`` or ``v1``.

        Nothing where it does not serve that version.
        """
        path = f"/apis/{_name(ApiVersion, version)}" if "/" in version else f"/api/{_name(ApiVersion, version)}"
        try:
            served = _parsed(self._run(["get", "--raw", path], purpose=f"listing the resources of {version}"))
        except ClusterError as error:
            if any(_ABSENT.search(line) for line in error.details):
                return {}
            raise
        return {row.kind: row.text("name") for row in served.rows("resources") if "/" not in row.text("name")}

    def reviewed(self, reviews: Sequence[Mapping[str, Json]]) -> tuple[bool, ...]:
        """Return for each of the ``resourceAttributes`` whether the cluster allows it to this user.

        As ``kubectl auth can-i`` does (SelfSubjectAccessReview), many at a time.
        """
        api: dict[str, Json] = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        objects = [KubeObject({**api, "spec": {"resourceAttributes": dict(review)}}) for review in reviews]
        arguments = ["create", "--validate=false", "--output=json", "--filename=-"]
        answers = _items(self._run(arguments, purpose="checking your permissions", objects=objects))
        allowed = tuple(answer.get("status", "allowed") is True for answer in answers)
        if len(allowed) != len(reviews):
            raise ClusterError(
                f"The cluster answered {len(allowed)} of {len(reviews)} access reviews.",
                remedy="Run the same command again.",
            )
        return allowed

    def execute(self, pod: str, container: str, namespace: str, command: Sequence[str], stdin: bytes) -> str:
        """Run a command in a container of ``pod`` (a pod, or ``deployments/NAME``), and return what it printed."""
        place = [f"--container={_name(DnsLabel, container)}", *_within(namespace)]
        # kubectl wants the pod before the dashes, behind which the command begins.
        arguments = ["exec", "--stdin", *place, "/".join(_operands(*pod.split("/"))), "--", *command]
        return self._run(arguments, purpose=f"running a program in {pod}", stdin=stdin)

    def existing(self, objects: Sequence[KubeObject]) -> tuple[KubeObject, ...]:
        """Return those of the objects that are there, as the cluster has them."""
        arguments = ["get", "--ignore-not-found", "--output=json", "--filename=-"]
        return _items(self._run(arguments, purpose="reading the objects", objects=objects))

    def apply(
        self, objects: Sequence[KubeObject], *, dry_run: bool = False, force: bool = False
    ) -> tuple[KubeObject, ...]:
        """Apply objects by server-side apply, and return them as the cluster then has them (or would have them).

        Raises:
            ClusterError: what the server said is in its details. Earlier objects of the same call may be applied.
        """
        # kubectl's own validation refuses, for servers before 1.25, resources that leave out a required field that has
        # a default. Preflight, and lint before it, find the fields that a CRD does not have.
        arguments = ["apply", "--server-side", "--validate=false", f"--field-manager={FIELD_MANAGER}"]
        arguments += ["--output=json", "--filename=-"]
        arguments += ["--dry-run=server"] if dry_run else []
        arguments += ["--force-conflicts"] if force else []
        return _items(self._run(arguments, purpose="applying objects", objects=objects))

    def delete(self, objects: Sequence[KubeObject], *, timeout: float) -> tuple[str, ...]:
        """Delete objects and wait until they are gone; return those that were there, a line each.

        Raises:
            ClusterError: one was not gone in ``timeout`` seconds, or the cluster refused.
        """
        arguments = ["delete", "--ignore-not-found", f"--timeout={timeout:g}s", "--output=name", "--filename=-"]
        try:
            output = self._run(
                arguments, purpose="deleting objects", objects=objects, time_limit=timeout + _REQUEST_TIMEOUT
            )
        except ClusterError as error:
            # Deleting a CRD deleted all objects of its kind.
            if len(objects) == 1 and any(_UNKNOWN_KIND.search(line) for line in error.details):
                return ()
            raise
        return tuple(output.split())

    def disown(self, kind: str, name: str, namespace: str) -> bool:
        """Remove the owners of an object, so that it stays when they are deleted; False where it is not there.

        Raises:
            ClusterError: the cluster refused or cannot be reached.
        """
        if self.get(kind, name, namespace) is None:
            return False
        patch = json.dumps({"metadata": {"ownerReferences": None}})
        arguments = ["patch", "--type=merge", f"--patch={patch}", *_within(namespace), "--", *_operands(kind, name)]
        self._run(arguments, purpose=f"removing the owners of {kind} {name}")
        return True

    def logs(self, pod: str, container: str, namespace: str, *, previous: bool) -> tuple[str, ...]:
        """Return the last lines of a container, none where it has none yet."""
        arguments = ["logs", f"--container={_name(DnsLabel, container)}", "--tail=15", *_within(namespace)]
        arguments += [*(["--previous"] if previous else []), "--", *_operands(pod)]
        try:
            return tuple(self._run(arguments, purpose="reading logs").splitlines())
        except ClusterError:
            return ()

    def _run(
        self,
        arguments: Sequence[str],
        *,
        purpose: str,
        objects: Sequence[KubeObject] | None = None,
        stdin: bytes | None = None,
        time_limit: float = _REQUEST_TIMEOUT,
    ) -> str:
        # Objects go on standard input only: arguments, which may hold a Secret, show in the list of processes.
        if objects is not None:
            stdin = json.dumps(
                {"apiVersion": "v1", "kind": "List", "items": [kube_object.to_json() for kube_object in objects]}
            ).encode()
        if shutil.which(self.program) is None:
            missing = "Neither kubectl nor oc is" if self.program == "kubectl" else f"{self.program} is not"
            raise ToolMissingError(f"{missing} on PATH.", remedy="Install one of them, or name it with --kubectl PATH.")
        command = [self.program, *self.options, "--request-timeout=60s", *arguments]
        try:
            return process.run(command, purpose=purpose, stdin=stdin, timeout=time_limit).stdout
        except ToolFailedError as error:
            raise _explained(error) from error


def _explained(error: ToolFailedError) -> ClusterError:
    output = "\n".join(error.details)
    for pattern, kind, sentence, remedy in _FAULTS:
        if pattern.search(output):
            return kind(sentence, remedy=remedy, details=error.details)
    return ClusterError(
        error.problem,
        details=error.details,
        remedy=error.remedy or "Correct what the details say, then run the same command again.",
    )


def _within(namespace: str | None) -> list[str]:
    return [f"--namespace={_name(DnsLabel, namespace)}"] if namespace else []


def _operands(*names: str) -> list[str]:
    """Return names as operands: whatever a bundle or a server chose, none of them is an option."""
    return [_name(PathSegment, name) for name in names]


def _name(form: type[str], text: str) -> str:
    try:
        return form(text)
    except ValueError as error:
        raise ClusterError(
            f"The API server returned a name that Kubernetes does not allow: {error}.",
            remedy="Is the server of the kubeconfig really a Kubernetes API server? Check --context.",
        ) from error


def _items(output: str) -> tuple[KubeObject, ...]:
    """Read what kubectl prints: a list, one object, several after each other, or nothing."""
    read: list[KubeObject] = []
    decoder, rest = json.JSONDecoder(), output.strip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except (ValueError, RecursionError) as error:
            raise _unreadable(rest) from error
        if not isinstance(value, dict):
            raise _unreadable(rest)
        printed = KubeObject(value)
        read += printed.rows("items") if printed.kind.endswith("List") and "items" in value else [printed]
        rest = rest[end:].lstrip()
    return tuple(read)


def _object(output: str) -> KubeObject | None:
    return next(iter(_items(output)), None)


def _parsed(output: str) -> KubeObject:
    """Read the one JSON object that the server answers with."""
    answer = _object(output)
    if answer is None:
        raise _unreadable(output)
    return answer


def _unreadable(output: str) -> ClusterError:
    return ClusterError(
        "kubectl did not print the requested JSON.",
        remedy="Try: kubectl get namespaces --output=json. Check that the program on PATH is kubectl or oc.",
        details=(output[:200],),
    )


def _cache() -> str:
    """Return a folder for kubectl's cache: without HOME it would write into the current folder."""
    folder = tempfile.mkdtemp(prefix="bundler-kubectl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
