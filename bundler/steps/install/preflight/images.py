"""Whether the registry has the bundle's images, lets the cluster pull them, and the nodes can run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

from bundler.effects.registry.endpoint import Access, Connection, Destination
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from bundler.kube.objects import KubeObject
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef
from bundler.steps.install import required_secrets
from bundler.steps.install.plan import PULL_TYPE
from bundler.steps.install.preflight.scope import PreflightScope

_LOGIN = "kubectl create secret docker-registry NAME --docker-server=HOST ... (or --secret NAME=FILE at install)"


def check_pushed(scope: PreflightScope, access: Access) -> Iterator[Finding]:
    """Yield whether every image is in the registry by its digest, as this person sees it."""
    title = f"{scope.release.registry} has every image, by digest"
    lines = tuple(_missing(scope, access, access.connection))
    if not lines:
        yield Finding("images", title, Status.PASS, (f"{len(_pulled(scope))} images",))
        return
    command = f"bundler push BUNDLE --registry {scope.release.registry}{' --flatten' if scope.release.flat else ''}"
    yield Finding("images", title, Status.FAIL, lines, "Push the bundle.", command)


def check_pull_secrets(scope: PreflightScope, access: Access) -> Iterator[Finding]:
    """Yield for each Secret that images are pulled with whether the registry accepts its login."""
    for required in scope.secrets:
        if required.type == PULL_TYPE:
            secret = scope.filled.get(required) or scope.kubectl.get("secrets", required.name, required.namespace)
            if secret is not None:  # another check reports that it is not there
                yield _pulls(required.place, secret, scope, access)


def _pulls(place: str, secret: KubeObject, scope: PreflightScope, access: Access) -> Finding:
    check, title = f"pull-secret-{place}", f"Images can be pulled with Secret {place}"
    logins = required_secrets.logins(secret)
    if logins is None:
        return Finding(
            check,
            title,
            Status.FAIL,
            ("it does not hold logins of registries",),
            "Delete it and create it again.",
            _LOGIN,
        )
    lines = tuple(_missing(scope, access, replace(access.connection, logins=logins)))
    if not lines:
        return Finding(check, title, Status.PASS, ("the registry answers for every image",))
    hosts = f"it has logins for: {', '.join(sorted(logins)) or 'none'}"
    return Finding(check, title, Status.FAIL, (hosts, *lines), "Add a login that may pull images.", _LOGIN)


def check_nodes(scope: PreflightScope) -> Iterator[Finding]:
    """Yield whether the images are made for the processors of the nodes."""
    title = "Nodes have a processor that every image is made for"
    platforms = [frozenset(image.platforms) for image in scope.release.images if image.platforms]
    common = frozenset[Platform]().union(*platforms).intersection(*platforms)
    nodes = [node for node in scope.kubectl.listed("nodes", None) if _accepts_pods(node)]
    if not nodes:
        yield Finding("nodes", title, Status.FAIL, ("no node of the cluster accepts pods",), "Add one.")
        return
    kinds: dict[str, int] = {}
    for node in nodes:
        kinds[_platform(node)] = kinds.get(_platform(node), 0) + 1
    covered = {kind for kind in kinds if any(_same(kind, platform) for platform in common)}
    made_for = f"images are for {', '.join(sorted(map(str, common)))}"
    evidence = (*(f"{count} nodes are {kind}" for kind, count in sorted(kinds.items())), made_for)
    command = "kubectl get nodes -L kubernetes.io/arch"
    if not covered:
        remedy = f"Build the bundle for {', '.join(sorted(kinds))} (platforms in the spec)."
        yield Finding("nodes", title, Status.FAIL, evidence, remedy, command)
    elif len(covered) < len(kinds):
        remedy = "Keep pods off the other nodes (a taint, or a node selector of the namespace), or build for them too."
        yield Finding("nodes", title, Status.MANUAL, evidence, remedy, command)
    else:
        yield Finding("nodes", title, Status.PASS, evidence)


def _missing(scope: PreflightScope, access: Access, connection: Connection) -> Iterator[str]:
    """Yield a line for each image that the registry does not have, or does not show."""
    destination = Destination.parse(scope.release.registry)
    with closing(Session(access.endpoint(destination.host), connection)) as session:
        for reference, digest in _pulled(scope).items():
            yield from _pull_problems(session, reference, digest)


def _pull_problems(session: Session, reference: str, digest: Digest) -> Iterator[str]:
    try:
        held = Repository(session, ImageRef.parse(reference).repository).find_manifest(digest)
    except RegistryError as error:
        yield f"{reference}: {error}"
        yield from error.details
    else:
        if held != digest:
            yield f"{reference}@{digest} is not there"


def _pulled(scope: PreflightScope) -> Mapping[str, Digest]:
    """Return name in the registry -> digest, of every image that runs; no pod pulls signatures."""
    mapping = scope.release.relocated
    images = (image for image in scope.release.images if image.platforms)
    return {mapping.get(image.internal, image.internal): image.root.digest for image in images}


def _accepts_pods(node: KubeObject) -> bool:
    effects = {taint.text("effect") for taint in node.rows("spec", "taints")}
    return not node.get("spec", "unschedulable") and not {"NoSchedule", "NoExecute"}.intersection(effects)


def _platform(node: KubeObject) -> str:
    system, architecture = (node.text("status", "nodeInfo", key) for key in ("operatingSystem", "architecture"))
    return f"{system}/{architecture}" if system and architecture else "unknown"


def _same(kind: str, platform: Platform) -> bool:
    # Nodes do not say their variant: linux/arm64 runs what was made for linux/arm64/v8.
    return str(platform).split("/")[:2] == kind.split("/")
