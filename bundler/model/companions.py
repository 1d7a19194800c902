"""What is wanted of an image beside the image itself: signatures and attestations, and all platforms or some."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CompanionPolicy(Enum):
    """Whether to mirror what refers to an image, too: signatures, attestations, bills of materials."""

    WANTED = "true"
    UNWANTED = "false"
    REQUIRED = "required"


@dataclass(frozen=True)
class ImageWish:
    """How one image is mirrored; ``all_platforms`` keeps its index whole, so that a signature of it holds."""

    companions: CompanionPolicy = CompanionPolicy.WANTED
    all_platforms: bool = False
