"""What of a FeatureStore lies outside of a disconnected site: repositories that pods clone, registries of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bundler.model.descriptor import Json
from bundler.model.findings import Finding, Status

_CHECK: Final = "feature-store.outside"
_TITLE: Final = "Pods need nothing from outside of the site when they start"
_PUBLIC_FORGES: Final = re.compile(r"(.*\.)?(github\.com|gitlab\.com|bitbucket\.org|dev\.azure\.com|codeberg\.org)")
_PUBLIC_REGISTRIES: Final = re.compile(
    r"(docker\.io|index\.docker\.io|quay\.io|ghcr\.io|gcr\.io|.*\.pkg\.dev|registry\.k8s\.io|public\.ecr\.aws"
    r"|registry\.access\.redhat\.com|registry\.redhat\.io|mcr\.microsoft\.com)"
)
_HOST: Final = re.compile(r"(?:[a-z+]+://)?(?:[^/@]*@)?([^/:]+)")


def check(resource: Json) -> Finding:
    """Return what pods of a FeatureStore fetch when they start: it fails where that is known to be on the internet."""
    rows = tuple(_rows(resource))
    if not rows:
        return Finding(_CHECK, _TITLE, Status.PASS, ("no repository to clone, no image of a public registry",))
    status = Status.FAIL if any(is_public for _, is_public in rows) else Status.MANUAL
    remedy = (
        "Bake the repo into the image (feastProjectDir.packaged), "
        "and name images of the internal registry; bundler build does both."
    )
    return Finding(_CHECK, _TITLE, status, tuple(line for line, _ in rows), remedy)


def _rows(resource: Json) -> Iterator[tuple[str, bool]]:
    spec = resource.get("spec") if isinstance(resource, dict) else None
    project = spec.get("feastProjectDir") if isinstance(spec, dict) else None
    git = project.get("git") if isinstance(project, dict) else None
    if isinstance(git, dict):
        match = _HOST.match(str(git.get("url", "")))
        host = match[1] if match else "an address that cannot be read"
        what = f"spec.feastProjectDir.git: an init container clones from {host} at every start of a pod"
        yield what, _PUBLIC_FORGES.fullmatch(host) is not None
    for path, image in dict.fromkeys(_images(spec, "spec")):
        host = image.partition("/")[0] if "/" in image else "docker.io"
        host = host if "." in host or ":" in host else "docker.io"
        if _PUBLIC_REGISTRIES.fullmatch(host):
            yield f"{path}: the image is one of {host}, which nodes must have a mirror of", False


def _images(value: Json, path: str) -> Iterator[tuple[str, str]]:
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in rows:
        if key in ("image", "initImage") and isinstance(inner, str):
            yield f"{path}.{key}", inner
        else:
            yield from _images(inner, f"{path}.{key}")
