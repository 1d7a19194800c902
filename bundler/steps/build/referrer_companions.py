"""Put what refers to the images that a build makes into the store: one index for each image, as a companion of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from bundler.effects.blobs import BlobStore
from bundler.model.digest import Digest
from bundler.model.reference import ImageRef
from bundler.oci import referrers
from bundler.oci.referrers import Artifact
from bundler.steps.build.pack import ImageToPack
from bundler.steps.sources.gather import COMPANION

Referring: TypeAlias = Mapping[tuple[str, Digest], Sequence[Artifact]]
"""Artifacts by the internal name of an image, and by what they refer to: the image's index or one of its manifests."""


def companions(referring: Referring, store: BlobStore) -> Iterator[ImageToPack]:
    """Yield the index of what refers to each image, under the tag that registries keep it by; all are in the store."""
    for (internal, digest), artifacts in referring.items():
        for artifact in artifacts:
            for blob in (referrers.EMPTY, artifact.content, artifact.manifest):
                store.put(blob)
        index = referrers.listed(artifacts)
        store.put(index.to_bytes())
        reference = str(replace(ImageRef.parse(internal), tag=referrers.tag(digest), digest=None))
        yield ImageToPack(reference, COMPANION, index.descriptor, reference, made_here=True)
