"""An image at its registry, of which the manifests were read: what it needs, and the record of that in the cache."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.model.descriptor import Descriptor, Json
from bundler.model.digest import Digest
from bundler.model.reference import ImageRef


@dataclass(frozen=True)
class RemoteImage:
    """An image whose manifests are in the cache; ``blobs`` are all that it needs.

    ``source_digest`` is what its registry calls it; ``root`` is another where platforms were left out. ``companions``
    are signatures and what else refers to it, each as an image of its own, found by its tag. ``notes`` say which of
    them are left out, or not known, and why.
    """

    reference: ImageRef
    root: Descriptor
    source_digest: Digest
    manifests: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    companions: tuple[RemoteImage, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all its blobs, manifests included."""
        return sum(descriptor.size for descriptor in (*self.manifests, *self.blobs))

    @property
    def all_blobs(self) -> tuple[Descriptor, ...]:
        """Blobs of the image and its companions, each once."""
        by_digest = {blob.digest: blob for image in (self, *self.companions) for blob in image.blobs}
        return tuple(by_digest.values())

    def to_json(self) -> dict[str, Json]:
        """Return the image as a record of the cache."""
        return {
            "reference": str(self.reference),
            "root": self.root.to_json(),
            "source": str(self.source_digest),
            "manifests": [entry.to_json() for entry in self.manifests],
            "blobs": [entry.to_json() for entry in self.blobs],
            "companions": [entry.to_json() for entry in self.companions],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, value: Json) -> RemoteImage:
        """Read a record of the cache; raise ``ValueError`` where it is malformed."""
        if isinstance(value, dict):
            value = {"notes": [], **value}  # records of earlier releases have none
        match value:
            case {
                "reference": str(reference),
                "root": root,
                "source": str(source),
                "manifests": list(manifests),
                "blobs": list(blobs),
                "companions": list(companions),
                "notes": list(notes),
            }:
                return cls(
                    ImageRef.parse(reference),
                    Descriptor.from_json(root),
                    Digest.parse(source),
                    tuple(map(Descriptor.from_json, manifests)),
                    tuple(map(Descriptor.from_json, blobs)),
                    tuple(map(cls.from_json, companions)),
                    tuple(map(str, notes)),
                )
        raise ValueError(f"not the record of an image: {value!r:.200}")
