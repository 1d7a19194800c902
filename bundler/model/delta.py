"""What a delta leaves out: blobs that another bundle, its base, has brought before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from bundler.model.descriptor import Json
from bundler.model.digest import Digest


@dataclass(frozen=True)
class Base:
    """The bundle that a delta builds on; ``digest`` is that of its ``bundle.json``.

    ``blobs`` are digest -> size in bytes, by digest: of a delta, what its images need and it does not hold.
    """

    name: str
    version: str
    digest: Digest
    blobs: Mapping[Digest, int]

    @property
    def size(self) -> int:
        """Bytes that are left out."""
        return sum(self.blobs.values())

    def only(self, wanted: Collection[Digest]) -> Base:
        """Return the base with no other blobs than those."""
        return replace(self, blobs={digest: self.blobs[digest] for digest in sorted(self.blobs) if digest in wanted})

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def brief(self) -> dict[str, Json]:
        """Return what it is, for scripts: how many blobs instead of which."""
        return {**self.to_json(), "blobs": len(self.blobs), "blobsSize": self.size}

    def to_json(self) -> dict[str, Json]:
        """Return the base as ``bundle.json`` spells it."""
        blobs: list[Json] = [{"digest": str(digest), "size": size} for digest, size in self.blobs.items()]
        return {"name": self.name, "version": self.version, "digest": str(self.digest), "blobs": blobs}

    @classmethod
    def from_json(cls, value: Json) -> Base:
        """Read a base; raise ``ValueError`` where it is malformed, or its blobs are not in order, each once."""
        match value:
            case {"name": str(name), "version": str(version), "digest": str(digest), "blobs": list(blobs)}:
                rows = [_blob(blob) for blob in blobs]
                if rows != sorted(dict(rows).items()):
                    raise ValueError("the blobs of the base are not in order, each once")
                return cls(name, version, Digest.parse(digest), dict(rows))
        raise ValueError(f"not the base of a delta: {value!r:.200}")


def _blob(value: Json) -> tuple[Digest, int]:
    match value:
        case {"digest": str(digest), "size": int(size)} if size >= 0:
            return Digest.parse(digest), size
    raise ValueError(f"not a blob of the base: {value!r:.200}")
