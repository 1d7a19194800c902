"""Image references: the names by which images are pulled."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from bundler.model.digest import Digest

# The grammar of the distribution project's reference package: a first path component with a dot, a colon or the
# name "localhost" is a registry host, anything else is part of the repository.
_HOST = r"(?:localhost|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<repository>{COMPONENT}(?:/{COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_REGISTRY = re.compile(rf"{_HOST}(?:/{COMPONENT})*")
DOCKER_HUB = "docker.io"


def is_registry(text: str) -> bool:
    """Tell whether a text is ``HOST[:PORT][/PREFIX]``."""
    return _REGISTRY.fullmatch(text) is not None


def _names_a_host(first_component: str) -> bool:
    return first_component == "localhost" or any(mark in first_component for mark in ".:[")


@dataclass(frozen=True, order=True)
class ImageRef:
    """A fully qualified image reference: ``registry/repository[:tag][@digest]``."""

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read a reference as Docker does: no host means Docker Hub, neither tag nor digest means ``latest``.

        Raises:
            ValueError: the text is not a reference (upper case, missing name, malformed digest, ...).
        """
        match = _REFERENCE.fullmatch(text)
        host, repository = (match["host"], match["repository"]) if match else (None, "")
        if host and not _names_a_host(host):
            host, repository = None, f"{host}/{repository}"
        if not match or not re.fullmatch(rf"{COMPONENT}(?:/{COMPONENT})*", repository):
            pinned = "@" in text and not re.search(r"@sha256:[0-9a-f]{64}\Z", text)
            expected = "a digest as sha256: and 64 digits of 0-9a-f" if pinned else "e.g. registry.example/team/app:1.0"
            msg = f"not an image reference: {text!r:.300} (expected {expected})"
            raise ValueError(msg)
        digest = Digest.parse(match["digest"]) if match["digest"] else None
        tag = match["tag"] or (None if digest else "latest")
        if host is None:
            host = DOCKER_HUB
            repository = repository if "/" in repository else f"library/{repository}"
        return cls(host, repository, tag, digest)

    @property
    def name(self) -> str:
        """``registry/repository``, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def tagged(self) -> str:
        """The reference without its digest: how an entry of an image layout is named."""
        return f"{self.name}:{self.tag}" if self.tag else self.name

    def pinned(self, digest: Digest) -> ImageRef:
        """Return the reference with this digest."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        return self.tagged + (f"@{self.digest}" if self.digest else "")


def flattened(path: str) -> str:
    """Return a path below a registry's prefix without a slash: ``team/app:1.0`` becomes ``team-app:1.0``.

    For registries that know one level of repositories only. Two images that would get one name are refused where
    names are given.
    """
    return path.replace("/", "-")
