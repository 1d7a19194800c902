"""Remember which layer something became, so that it is made only once."""

from __future__ import annotations

from bundler.effects.blobs import BlobStore
from bundler.oci.layer import Layer


def recall(store: BlobStore, kind: str, key: str) -> Layer | None:
    """Return the layer that was remembered under a kind and key, if its blob is still in the store."""
    record = store.recall(kind, key)
    if record is None:
        return None
    layer = Layer.from_json(record)
    return layer if store.has(layer.descriptor.digest, layer.descriptor.size) else None


def remember(store: BlobStore, kind: str, key: str, layer: Layer) -> None:
    """Remember the layer, whose blob is in the store."""
    store.remember(kind, key, layer.to_json())
