"""A base image together with what is in it."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.oci.image import Image
from bundler.oci.rootfs import BaseContents


@dataclass(frozen=True)
class UnpackedBase:
    """The base image of one platform, and what is in it."""

    image: Image
    contents: BaseContents
