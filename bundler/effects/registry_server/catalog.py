"""What a read-only registry has: repositories with tags, manifests and referrers in memory, and where blobs lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bundler.effects.archive.volumes import Extent
from bundler.model import media_types
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.oci.manifest import RawManifest


@dataclass(frozen=True)
class ServedBlob:
    """A blob's size in bytes, and where they lie."""

    size: int
    extents: tuple[Extent, ...]


@dataclass
class ServedRepository:
    """One repository under construction and in use; it is not altered once it is served."""

    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: dict[Digest, RawManifest] = field(default_factory=dict)
    blobs: dict[Digest, ServedBlob] = field(default_factory=dict)

    def resolve(self, reference: str) -> RawManifest | None:
        """Return the manifest that a tag or a digest names, or None."""
        try:
            digest: Digest | None = Digest.parse(reference)
        except ValueError:
            digest = self.tags.get(reference)
        return self.manifests.get(digest) if digest else None

    def referrers(self, subject: Digest, artifact_type: str | None) -> bytes:
        """Return the index of what refers to ``subject`` (distribution specification, Listing Referrers)."""
        rows = [row for manifest in self.manifests.values() if (row := _referrer(manifest, subject))]
        if artifact_type is not None:
            rows = [row for row in rows if row.get("artifactType") == artifact_type]
        index: dict[str, Json] = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [*rows]}
        return json.dumps(index).encode()


@dataclass(frozen=True)
class Catalog:
    """Repositories by name."""

    repositories: Mapping[str, ServedRepository]


def _referrer(manifest: RawManifest, subject: Digest) -> dict[str, Json] | None:
    value = json.loads(manifest.content)
    pointed = value.get("subject")
    if not isinstance(pointed, dict) or pointed.get("digest") != str(subject):
        return None
    row = manifest.descriptor.to_json()
    row.pop("platform", None)
    config = value.get("config")
    kind = value.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    if isinstance(kind, str):
        row["artifactType"] = kind
    if isinstance(value.get("annotations"), dict):
        row["annotations"] = value["annotations"]
    return row


def page(names: Mapping[str, object], count: str | None, last: str | None) -> tuple[list[str], bool]:
    """Return one page of names in lexical order, and whether more follow.

    Raises:
        ValueError: ``count`` is not a number (distribution specification, Listing Tags).
    """
    ordered = sorted(name for name in names if last is None or name > last)
    if count is None:
        return ordered, False
    if not count.isascii() or not count.isdigit():
        raise ValueError(f"not a number of results: {count!r}")
    wanted = int(count)
    return ordered[:wanted], 0 < wanted < len(ordered)
