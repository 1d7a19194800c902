"""Bake: a base image, wheel layers and a feature repo become one feature-server image, without a container engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bundler import __version__
from bundler.effects.blobs import BlobStore
from bundler.effects.feature_repo import RepoContents, RepoFile
from bundler.model.digest import Digest
from bundler.model.platform import Platform
from bundler.model.reference import ImageRef
from bundler.oci import mutate
from bundler.oci.filetree import Directory, File, FileTree
from bundler.oci.image import Image
from bundler.oci.layer import COMPRESSOR, Layer, write_layer
from bundler.steps.build import cached_layer

# Time of the files in layers: fixed, so that the same files are the same layer in every bundle and nothing is pushed
# twice. Not zero, which some programs take for "unknown"; the image's config says when it was made.
LAYER_EPOCH: Final = 315532800  # 1980-01-01, the oldest that a zip file can say
# Never below /feast-data: the operator mounts an empty volume over that.
REPO_FOLDER: Final = "/opt/feast/feature_repo"
# The folder above is the home of the Debian base's user, writable for its group; said here as it is there, because a
# layer that names a folder sets its owner and mode again.
_HOME: Final = (Directory("opt/feast", 0o775, 1001, 0),)
# Part of the layer's cache key; raise it when the layer of the same repo gets other bytes.
_RECIPE: Final = 2
_RECORD: Final = "repo-layer"
_ANNOTATION: Final = "org.opencontainers.image."


@dataclass(frozen=True)
class ImageIdentity:
    """What an image says of itself in labels and annotations (OCI image specification, ``annotations.md``)."""

    title: str
    version: str
    source: str | None
    revision: Digest  # the content of the feature repo: true on every machine, with or without a version control system
    feast_version: str
    base_name: str | None  # None for a base that has no name elsewhere, such as an archive
    base_digest: Digest
    lock_digest: Digest

    def labels(self) -> Mapping[str, str]:
        """Return label -> value."""
        values = {
            f"{_ANNOTATION}title": self.title,
            f"{_ANNOTATION}version": self.version,
            f"{_ANNOTATION}revision": str(self.revision),
            f"{_ANNOTATION}base.digest": str(self.base_digest),
            "dev.feast.version": self.feast_version,
            "dev.feast.bundler.version": __version__,
            "dev.feast.bundler.lock.digest": str(self.lock_digest),
            "dev.feast.bundler.repo": REPO_FOLDER,
        }
        if self.base_name:
            values[f"{_ANNOTATION}base.name"] = self.base_name
        if self.source:
            values[f"{_ANNOTATION}source"] = self.source
        return values


def repo_layer(repo: RepoContents, store: BlobStore, *, epoch: int) -> Layer:
    """Return the layer that holds the feature repo, made only where the store does not have it yet.

    Files belong to root and are read-only to the server: code that a server may rewrite is code that nobody reviewed.
    """
    key = f"{_RECIPE} {repo.fingerprint} {epoch} {COMPRESSOR}"
    if cached := cached_layer.recall(store, _RECORD, key):
        return cached
    tree = FileTree.of([*_HOME, *(_entry(file) for file in repo.files)]).with_parents()
    with store.writing() as sink:
        layer = write_layer(tree, sink, epoch=epoch, created_by=f"bundler: feature repo at {REPO_FOLDER}")
    cached_layer.remember(store, _RECORD, key, layer)
    return layer


def _entry(file: RepoFile) -> File:
    return File(
        path=f"{REPO_FOLDER.lstrip('/')}/{file.path}",
        size=file.size,
        open=file.opened,
        mode=0o755 if file.executable else 0o644,
    )


@dataclass(frozen=True)
class BakedServer:
    """A baked feature server: whose repo it has (None: the bundle's), its internal name, its image on each platform."""

    tenant: str | None
    repo: RepoContents
    internal: ImageRef
    images: Mapping[Platform, Image]


def assemble(base: Image, layers: Sequence[Layer], identity: ImageIdentity, store: BlobStore, *, epoch: int) -> Image:
    """Put layers on a base, name the result, and store its config and manifest.

    User, environment and entry point stay those of the base; only the working directory becomes the feature repo, so
    that ``feast`` typed into a shell of the container finds it.
    """
    image = mutate.append_layers(base, tuple(layers))
    image = mutate.configure(
        image,
        working_dir=REPO_FOLDER,
        labels=identity.labels(),
        annotations=identity.labels(),
        created=epoch,
    )
    store.put(image.config_bytes())
    store.put(image.manifest_bytes())
    return image
