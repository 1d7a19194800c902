"""Where an image is read from: one of skopeo's transports, possibly through a mirror."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bundler.errors import SpecError
from bundler.model.digest import Digest
from bundler.model.reference import ImageRef
from bundler.model.spec import Mirror

_REGISTRY: Final = "docker"
_FILES: Final = frozenset({"dir", "oci", "oci-archive", "docker-archive"})
# These rebuild the manifest, so the digest of the original is not kept.
_REBUILDING: Final = frozenset({"docker-archive", "docker-daemon", "containers-storage"})
_TRANSPORTS: Final = _FILES | _REBUILDING


@dataclass(frozen=True)
class SkopeoSource:
    """A source as skopeo is told it: ``location`` is what follows the transport's colon."""

    transport: str
    location: str
    reference: ImageRef | None = None  # of a registry's image, before any mirror
    insecure: bool = False

    @property
    def argument(self) -> str:
        """The source as an argument of skopeo."""
        return f"{self.transport}:{self.location}"

    @property
    def keeps_digests(self) -> bool:
        """Whether the manifest that is read is the one that was pushed, byte for byte."""
        return self.transport not in _REBUILDING

    @property
    def addresses_digests(self) -> bool:
        """Whether one image can be asked for by its digest."""
        return self.transport == _REGISTRY

    @property
    def pinned(self) -> Digest | None:
        """The digest that the source itself names."""
        return self.reference.digest if self.reference else None

    def at(self, digest: Digest) -> SkopeoSource:
        """Return the source of the image of that digest; only where ``addresses_digests``."""
        return replace(self, location=f"{repository(self)}@{digest}")

    def __str__(self) -> str:
        return str(self.reference) if self.reference else self.argument


def parse(text: str, mirrors: Sequence[Mirror] = ()) -> SkopeoSource:
    """Read an image reference or a skopeo source; raise ``SpecError`` where it is neither, or its file is not there."""
    transport, colon, location = text.partition(":")
    if transport == _REGISTRY and location.startswith("//"):
        return _registry(location.removeprefix("//"), mirrors)
    if colon and transport in _TRANSPORTS:
        if transport in _FILES and not _file(transport, location).exists():
            raise SpecError(
                f"{_file(transport, location)}, which {text!r} names, does not exist.",
                remedy="Check the path of the image.",
            )
        return SkopeoSource(transport, _absolute(transport, location))
    if "://" in text:
        raise SpecError(
            f"{text!r} does not begin with a known transport for images.",
            remedy=f"Use a reference such as registry.example/team/app:1.0, or one of: {', '.join(_known())}.",
        )
    return _registry(text, mirrors)


def _known() -> list[str]:
    return sorted([f"{transport}:" for transport in _TRANSPORTS] + ["docker://"])


def _file(transport: str, location: str) -> Path:
    """Return the file or folder; what follows a colon in it is the name of an image, save for ``dir``."""
    return Path(location if transport == "dir" else location.partition(":")[0])


def _absolute(transport: str, location: str) -> str:
    # skopeo is run in a folder of its own.
    return str(Path.cwd() / location) if transport in _FILES else location


def _registry(text: str, mirrors: Sequence[Mirror]) -> SkopeoSource:
    try:
        reference = ImageRef.parse(text)
    except ValueError as error:
        raise SpecError(f"{error}.", remedy=f"Other sources begin with one of: {', '.join(_known())}.") from error
    name, insecure = _mirrored(reference, mirrors)
    # skopeo refuses a tag beside a digest; the digest says more.
    suffix = f"@{reference.digest}" if reference.digest else f":{reference.tag}"
    return SkopeoSource(_REGISTRY, f"//{name}{suffix}", reference, insecure)


def _mirrored(reference: ImageRef, mirrors: Sequence[Mirror]) -> tuple[str, bool]:
    """Return the name to read instead; of several mirrors that fit, that of the longest source."""
    for mirror in sorted(mirrors, key=lambda mirror: -len(mirror.source)):
        source = mirror.source.rstrip("/")
        if reference.name == source or reference.name.startswith(f"{source}/"):
            return mirror.location.rstrip("/") + reference.name.removeprefix(source), mirror.insecure
    return reference.name, False


def host(source: SkopeoSource) -> str:
    """Return the registry that is asked, for messages and ``skopeo login``."""
    return source.location.removeprefix("//").partition("/")[0]


def repository(source: SkopeoSource) -> str:
    """Return the location of a registry's image without tag and digest."""
    head, slash, last = source.location.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
