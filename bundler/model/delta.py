"""What a delta leaves out: blobs that another bundle, its base bundle, brings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from bundler.model import limits, names
from bundler.model.descriptor import Json, is_size
from bundler.model.digest import Digest
from bundler.model.reference import ImageRef


@dataclass(frozen=True)
class LeftOut:
    """A blob that is not in a delta: its bytes, and the repository into which the base bundle puts it."""

    size: int
    repository: str


@dataclass(frozen=True)
class BaseBundle:
    """The bundle that a delta builds on; ``digest`` is that of its ``bundle.json``.

    ``blobs`` are the blobs, by digest, that the delta's images need and that the delta does not hold.
    """

    name: str
    version: str
    digest: Digest
    blobs: Mapping[Digest, LeftOut]

    @property
    def size(self) -> int:
        """Bytes that are left out."""
        return sum(blob.size for blob in self.blobs.values())

    def only(self, wanted: Collection[Digest]) -> BaseBundle:
        """Return the base bundle with these blobs only."""
        return replace(self, blobs={digest: self.blobs[digest] for digest in sorted(self.blobs) if digest in wanted})

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def check(self) -> None:
        """Raise ``ValueError`` for a name or version that a bundle cannot have."""
        # They become part of commands that people copy.
        if not re.fullmatch(names.DNS_LABEL, self.name) or not re.fullmatch(names.TAG, self.version):
            raise ValueError(f"not the name and version of a bundle: {self.name!r:.100} {self.version!r:.100}")

    def brief(self) -> dict[str, Json]:
        """Return the base bundle for scripts, with the number of its blobs instead of their digests."""
        return {**self.to_json(), "blobs": len(self.blobs), "blobsSize": self.size}

    def to_json(self) -> dict[str, Json]:
        """Return the base bundle as ``bundle.json`` spells it."""
        blobs: list[Json] = [
            {"digest": str(digest), "size": blob.size, "repository": blob.repository}
            for digest, blob in self.blobs.items()
        ]
        return {"name": self.name, "version": self.version, "digest": str(self.digest), "blobs": blobs}

    @classmethod
    def from_json(cls, value: Json) -> BaseBundle:
        """Read a base bundle; raise ``ValueError`` where it is malformed, or its blobs are unsorted or repeated."""
        match value:
            case {"name": str(name), "version": str(version), "digest": str(digest), "blobs": list(blobs)}:
                if len(blobs) > limits.BUNDLE_FILES:
                    raise ValueError(f"it leaves {len(blobs)} blobs to its base, more than {limits.BUNDLE_FILES}")
                rows = [_blob(blob) for blob in blobs]
                digests = [row[0] for row in rows]
                if digests != sorted(set(digests)):
                    raise ValueError("the blobs of the base bundle are unsorted or repeated")
                base = cls(name, version, Digest.parse(digest), dict(rows))
                base.check()
                return base
        raise ValueError(f"not the base bundle of a delta: {value!r:.200}")


def _blob(value: Json) -> tuple[Digest, LeftOut]:
    match value:
        case {"digest": str(digest), "size": int(size), "repository": str(repository)} if is_size(
            size
        ) and _is_repository(repository):
            return Digest.parse(digest), LeftOut(size, repository)
    raise ValueError(f"not a blob of the base bundle: {value!r:.200}")


def _is_repository(text: str) -> bool:
    try:
        return ImageRef.parse(f"localhost/{text}").repository == text
    except ValueError:
        return False
