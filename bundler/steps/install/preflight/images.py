"""Whether the registry has the bundle's images, lets the cluster pull them, and the nodes can run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace

from bundler.effects.registry.endpoint import Access, Connection, Destination
from bundler.effects.registry.repository import Repository
from bundler.effects.registry.session import Session
from bundler.errors import RegistryError
from bundler.kube.kustomize import Object
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.findings import Finding, Status
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef
from bundler.steps.install import plan as install_plan
from bundler.steps.install import secrets as site_secrets
from bundler.steps.install.preflight.case import Case

_LOGIN = "kubectl create secret docker-registry NAME --docker-server=HOST ... (or --secret NAME=FILE at install)"


def check_pushed(case: Case, access: Access) -> Iterator[Finding]:
    """Yield whether every image is in the registry by its digest, as this person sees it."""
    title = f"{case.subject.registry} has every image, by digest"
    lines = tuple(_missing(case, access, access.connection))
    if not lines:
        yield Finding("images", title, Status.PASS, (f"{len(case.subject.images)} images",))
        return
    command = f"bundler push BUNDLE --registry {case.subject.registry}"
    yield Finding("images", title, Status.FAIL, lines, "Push the bundle.", command)


def check_pull_secrets(case: Case, access: Access) -> Iterator[Finding]:
    """Yield for each Secret that images are pulled with whether the registry takes its login."""
    for wanted in case.secrets:
        if wanted.type == install_plan.PULL_TYPE:
            place = f"{wanted.namespace}/{wanted.name}"
            found = case.filled.get(wanted) or case.kubectl.get("secrets", wanted.name, wanted.namespace)
            if found is not None:  # that it is not there is a finding of its own
                yield _pulls(place, found, case, access)


def _pulls(place: str, secret: Object, case: Case, access: Access) -> Finding:
    check, title = f"pull-secret-{place}", f"Images can be pulled with Secret {place}"
    logins = site_secrets.logins(secret)
    if logins is None:
        return Finding(check, title, Status.FAIL, ("it has no logins of registries",), "Make it anew.", _LOGIN)
    lines = tuple(_missing(case, access, replace(access.connection, logins=logins)))
    if not lines:
        return Finding(check, title, Status.PASS, ("the registry answers for every image",))
    hosts = f"it has logins for: {', '.join(sorted(logins)) or 'none'}"
    return Finding(check, title, Status.FAIL, (hosts, *lines), "Put a login into it that may pull.", _LOGIN)


def check_nodes(case: Case) -> Iterator[Finding]:
    """Yield whether the nodes have processors that the images were made for."""
    title = "Nodes have a processor that every image is made for"
    platforms = [frozenset(image.platforms) for image in case.subject.images]
    common = frozenset[Platform]().union(*platforms).intersection(*platforms)
    nodes = [node for node in case.kubectl.listed("nodes", None) if _takes_pods(node)]
    if not nodes:
        yield Finding("nodes", title, Status.FAIL, ("the cluster has no node that takes pods",), "Add one.")
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


def _missing(case: Case, access: Access, connection: Connection) -> Iterator[str]:
    """Yield a line for each image that the registry does not have, or does not show."""
    destination = Destination.parse(case.subject.registry)
    with closing(Session(access.endpoint(destination.host), connection)) as session:
        for reference, digest in _pulled(case).items():
            yield from _asked(session, reference, digest)


def _asked(session: Session, reference: str, digest: Digest) -> Iterator[str]:
    try:
        found = Repository(session, ImageRef.parse(reference).repository).find_manifest(digest)
    except RegistryError as error:
        yield f"{reference}: {error}"
        yield from error.details
    else:
        if found != digest:
            yield f"{reference}@{digest} is not there"


def _pulled(case: Case) -> Mapping[str, Digest]:
    """Return name in the registry -> digest, of every image of the bundle."""
    mapping = case.subject.relocated
    return {mapping.get(image.internal, image.internal): image.root.digest for image in case.subject.images}


def _takes_pods(node: Mapping[str, Json]) -> bool:
    spec = node.get("spec")
    held = spec if isinstance(spec, dict) else {}
    taints = held.get("taints")
    effects = {taint.get("effect") for taint in taints if isinstance(taint, dict)} if isinstance(taints, list) else ()
    return not held.get("unschedulable") and not {"NoSchedule", "NoExecute"}.intersection(effects)


def _platform(node: Mapping[str, Json]) -> str:
    match node.get("status"):
        case {"nodeInfo": {"operatingSystem": system, "architecture": architecture}}:
            return f"{system}/{architecture}"
    return "unknown"


def _same(kind: str, platform: Platform) -> bool:
    # Nodes do not say their variant: linux/arm64 runs what was made for linux/arm64/v8.
    return str(platform).split("/")[:2] == kind.split("/")
