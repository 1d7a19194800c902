"""Configuration that lets nodes pull images by their public names from the internal registry.

The manifests of a bundle name the internal registry outright; this is for the other workloads of a site.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bundler.errors import SpecError
from bundler.kube import yaml_text
from bundler.model import layout
from bundler.model.descriptor import Json
from bundler.model.reference import DOCKER_HUB, ImageRef

_DOCKER_HUB_SERVER: Final = "registry-1.docker.io"
_CERTS: Final = "/etc/containerd/certs.d"
_OPENSHIFT: Final = "config.openshift.io/v1"


def files(relocations: Mapping[ImageRef, ImageRef], name: str) -> Mapping[str, str]:
    """Return all of it: path below one folder -> text."""
    return {
        "mapping.txt": mapping_file(relocations),
        "registries.conf": registries_conf(relocations),
        **{f"containerd/{path}": text for path, text in containerd_hosts(relocations).items()},
        **{f"openshift/{path}": text for path, text in openshift_mirror_sets(relocations, name).items()},
    }


def check_paths(relocations: Mapping[ImageRef, ImageRef], name: str) -> None:
    """Raise ``SpecError`` where a bundle cannot hold one of these files; call it before anything is fetched."""
    paths = [layout.mirror(path) for path in files(relocations, name)] if relocations else []
    try:
        for path in paths:
            layout.check_path(path)
    except ValueError as error:
        raise SpecError(
            f"images: the mirror configuration needs a file that a bundle cannot hold: {error}.",
            remedy="Name the image by a shorter registry, and map that to the real one with 'mirrors'.",
        ) from error


def mapping_file(relocations: Mapping[ImageRef, ImageRef]) -> str:
    """Return a line ``SOURCE=INTERNAL`` an image, as `oc image mirror --filename` and others read it."""
    return "".join(f"{source}={internal}\n" for source, internal in relocations.items())


def containerd_hosts(relocations: Mapping[ImageRef, ImageRef], *, plain_http: bool = False) -> Mapping[str, str]:
    """Return path below ``/etc/containerd/certs.d`` -> text of hosts.toml, for each source registry.

    containerd asks a mirror for the repository's own path, so a registry has a file only where all of its images keep
    their path below one prefix; the others need their internal name.
    """
    texts: dict[str, str] = {}
    for registry in dict.fromkeys(source.registry for source in relocations):
        bases = {
            internal.name.removesuffix(source.repository)
            for source, internal in relocations.items()
            if source.registry == registry
        }
        base = bases.pop()
        if bases or not base.endswith("/"):
            continue
        server = _DOCKER_HUB_SERVER if registry == DOCKER_HUB else registry
        host, _, path = base.rstrip("/").partition("/")
        location = f"{'http' if plain_http else 'https'}://{host}/v2{f'/{path}' if path else ''}"
        folder, node = layout.containerd_folder(registry), layout.certs_folder(registry)
        texts[f"{folder}/hosts.toml"] = ("" if folder == node else f"# On the node: {_CERTS}/{node}/hosts.toml\n") + (
            f'server = "https://{server}"\n\n[host."{location}"]\n'
            'capabilities = ["pull", "resolve"]\noverride_path = true\n'
        )
    return texts


def registries_conf(relocations: Mapping[ImageRef, ImageRef], *, insecure: bool = False) -> str:
    """Return a drop-in for ``/etc/containers/registries.conf.d``, which CRI-O, podman and skopeo read."""
    return "\n".join(
        f'[[registry]]\nprefix = "{source}"\nlocation = "{source}"\n\n'
        f'[[registry.mirror]]\nlocation = "{internal}"\ninsecure = {str(insecure).lower()}\n'
        for source, internal in _repositories(relocations).items()
    )


def openshift_mirror_sets(relocations: Mapping[ImageRef, ImageRef], name: str) -> Mapping[str, str]:
    """Return file name -> YAML of the ImageDigestMirrorSet and ImageTagMirrorSet."""
    kinds = {
        "image-digest-mirror-set.yaml": ("ImageDigestMirrorSet", "imageDigestMirrors"),
        "image-tag-mirror-set.yaml": ("ImageTagMirrorSet", "imageTagMirrors"),
    }
    return {file: yaml_text.dump(_mirror_set(relocations, name, kind, key)) for file, (kind, key) in kinds.items()}


def _mirror_set(relocations: Mapping[ImageRef, ImageRef], name: str, kind: str, key: str) -> dict[str, Json]:
    mirrors: list[Json] = [
        # Without fallback: a source that cannot be reached would only delay pulls.
        {"source": source, "mirrors": [internal], "mirrorSourcePolicy": "NeverContactSource"}
        for source, internal in _repositories(relocations).items()
    ]
    return {"apiVersion": _OPENSHIFT, "kind": kind, "metadata": {"name": name}, "spec": {key: mirrors}}


def _repositories(relocations: Mapping[ImageRef, ImageRef]) -> Mapping[str, str]:
    return {source.name: internal.name for source, internal in sorted(relocations.items())}
