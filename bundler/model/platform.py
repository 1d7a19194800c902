"""Platforms that an image can run on, with the names that OCI, Debian and wheels give them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[A-Za-z0-9._-]{0,64}")
_DEBIAN = {"amd64": "amd64", "arm64": "arm64"}
_MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, order=True)
class Platform:
    """An operating system and processor architecture, named as OCI indexes and Go do."""

    os: str
    architecture: str
    variant: str = ""

    def __post_init__(self) -> None:
        if not all(_WORD.fullmatch(word) for word in (self.os, self.architecture, self.variant)):
            raise ValueError(f"not a platform: {self.os!r:.80}, {self.architecture!r:.80}, {self.variant!r:.80}")

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``OS/ARCH[/VARIANT]``; raise ``ValueError`` on anything that Feast's images cannot be built for."""
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            msg = f"not a platform: {text!r:.120} (expected e.g. linux/amd64)"
            raise ValueError(msg)
        platform = cls(*parts)
        if platform.os != "linux" or platform.architecture not in _MACHINE:
            known = ", ".join(f"linux/{architecture}" for architecture in _MACHINE)
            msg = f"unsupported platform: {text!r:.120} (supported: {known})"
            raise ValueError(msg)
        return platform

    @property
    def debian_architecture(self) -> str:
        """The architecture's name in Debian, e.g. ``amd64``."""
        return _DEBIAN[self.architecture]

    @property
    def machine(self) -> str:
        """The architecture's name in the kernel and in wheel tags, e.g. ``x86_64``."""
        return _MACHINE[self.architecture]

    def __str__(self) -> str:
        return "/".join(field for field in (self.os, self.architecture, self.variant) if field)
