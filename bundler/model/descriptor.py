"""Descriptors: typed pointers from one blob to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, Union

from bundler.model.digest import Digest
from bundler.model.platform import Platform

# Not a type statement (PEP 695): the offline half runs on CPython 3.10.
Json: TypeAlias = Union[bool, int, float, str, "list[Json]", "dict[str, Json]", None]
NO_SIZE: Final = 1 << 63
"""Sizes are below this number of bytes."""


def is_size(value: int) -> bool:
    """Tell whether a number out of a document is a size in bytes, which ``true`` is not."""
    return not isinstance(value, bool) and 0 <= value < NO_SIZE


@dataclass(frozen=True)
class Descriptor:
    """A pointer to a blob (OCI image specification, ``descriptor.md``); ``size`` is in bytes."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    @classmethod
    def from_json(cls, value: Json) -> Descriptor:
        """Read a descriptor; raise ``ValueError`` where a required property is missing or of another type."""
        if isinstance(value, dict):
            match value:
                case {"mediaType": str(media_type), "digest": str(digest), "size": int(size)} if is_size(size):
                    return cls(
                        media_type,
                        Digest.parse(digest),
                        size,
                        _platform(value.get("platform")),
                        _annotations(value.get("annotations")),
                        _artifact_type(value.get("artifactType")),
                    )
        msg = f"not a descriptor: {value!r:.200}"
        raise ValueError(msg)

    def to_json(self) -> dict[str, Json]:
        """Return the descriptor as the specification spells it, without empty properties."""
        value: dict[str, Json] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.platform:
            platform: dict[str, Json] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            value["platform"] = platform
        if self.annotations:
            value["annotations"] = dict(sorted(self.annotations.items()))
        return value


def _platform(value: Json) -> Platform | None:
    if value is None:
        return None
    if isinstance(value, dict):
        system, architecture, variant = (value.get(key, "") for key in ("os", "architecture", "variant"))
        if isinstance(system, str) and isinstance(architecture, str) and isinstance(variant, str):
            return Platform(system, architecture, variant)
    msg = f"not a platform: {value!r:.200}"
    raise ValueError(msg)


def _artifact_type(value: Json) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        msg = f"not an artifact type: {value!r:.200}"
        raise ValueError(msg)  # noqa: TRY004  (a malformed document, not a wrong argument)
    return value


def _annotations(value: Json) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        msg = f"not annotations: {value!r:.200}"
        raise ValueError(msg)  # noqa: TRY004  (a malformed document, not a wrong argument)
    return {key: text for key, text in value.items() if isinstance(text, str)}
