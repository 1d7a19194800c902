"""The ``index.json`` of a bundle: an entry per image, found by its name by every tool that reads OCI layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from bundler.model.descriptor import Descriptor
from bundler.model.manifest import BundledImage
from bundler.oci import index
from bundler.oci.index import Index

# OCI image specification, annotations.md; skopeo, podman, umoci and oras look images up by it.
_NAME: Final = "org.opencontainers.image.ref.name"
# `ctr images import` takes the full name from here.
_CONTAINERD_NAME: Final = "io.containerd.image.name"


def of(images: Iterable[BundledImage]) -> Index:
    """Return the index of these images."""
    entries = (
        replace(image.root, annotations={_NAME: image.layout_name, _CONTAINERD_NAME: image.reference})
        for image in images
    )
    return Index(tuple(entries))


def roots(content: bytes) -> Mapping[str, Descriptor]:
    """Return name -> image; raise ``ValueError`` for anything but an index whose entries have names, each once."""
    by_name: dict[str, Descriptor] = {}
    for entry in index.parse(content).manifests:
        name = entry.annotations.get(_NAME, "")
        if not name or name in by_name:
            raise ValueError(f"the image {entry.digest} has no name, or the name of another image: {name!r:.200}")
        by_name[name] = replace(entry, annotations={})
    return by_name
