"""Media types of the OCI image specification and of Docker's image manifest version 2, schema 2."""

from __future__ import annotations

from typing import Final

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"

MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS_AND_INDEXES: Final = MANIFESTS | INDEXES
"""What a registry keeps as a manifest: manifests of images and indexes."""
CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
"""Configs of images that run; a manifest with a config of another type is an artifact."""
_LAYERS: Final = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")


def is_foreign(media_type: str) -> bool:
    """Tell whether a layer may lie elsewhere because its maker does not let it be passed on (Windows base images)."""
    return ".foreign." in media_type or ".nondistributable." in media_type


def is_layer(media_type: str) -> bool:
    """Tell whether this is the media type of a layer of an image, also of one that must not be passed on."""
    return media_type.startswith(_LAYERS)
