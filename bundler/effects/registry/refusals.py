"""Refusals that no repetition changes: a quota is used up, a tag is fixed, the registry takes no pushes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Final


class Refusal(Enum):
    """Why a registry refuses, as far as its words tell: the end of a sentence."""

    FULL = "it has no space left"
    IMMUTABLE = "what is there under this name must not be overwritten"
    QUOTA = "a quota is used up there"
    READ_ONLY = "it takes no pushes, or none to this path"


REMEDIES: Final[Mapping[Refusal, str]] = {
    Refusal.FULL: "The registry has no space left: make some there, then run the same command again.",
    Refusal.IMMUTABLE: "Push to another path (--registry HOST/OTHER), or let the registry's administrator lift the "
    "rule that makes the tag immutable, or delete the tag there.",
    Refusal.QUOTA: "Raise the quota of this project, or delete images there and let the registry collect its garbage; "
    "then run the same command again.",
    Refusal.READ_ONLY: "Wait until its maintenance is over, or choose another registry or path: mirrors and proxy "
    "caches are read-only.",
}

# Words of Harbor, Quay, GitLab, Nexus, Artifactory, ECR, ACR, Artifact Registry, DigitalOcean and distribution, those
# that decide first. The specification has no codes for them.
_WORDS: Final[Mapping[Refusal, str]] = {
    Refusal.FULL: r"no space left|disk (?:is )?full|insufficient storage|disk usage is too high",
    Refusal.IMMUTABLE: r"immutab|cannot be overwritten|can ?not overwrite|overwrit\w+ (?:is )?(?:not|dis)"
    r"|TagAlreadyExists|not allow(?:ed)? (?:updating|redeploy|overwrit)|allow redeploy|tag is (?:locked|protected)"
    r"|operation is disallowed on this registry, repository or image",
    Refusal.QUOTA: r"quota|configured upper limit|storage limit|limit is \d|maximum (?:allowed )?(?:number|size)"
    r"|LimitExceeded",
    Refusal.READ_ONLY: r"read[- _]?only|maintenance|(?:to|in) a proxy (?:project|repository|cache)",
}


def why(status: int, words: Iterable[str]) -> Refusal | None:
    """Return why a registry refuses, from the codes and messages of its errors; None where they do not say."""
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        return Refusal.FULL
    if status < HTTPStatus.BAD_REQUEST or status == HTTPStatus.TOO_MANY_REQUESTS:  # "quota exceeded ... per minute"
        return None
    text = " ".join(words)
    return next((refusal for refusal, pattern in _WORDS.items() if re.search(pattern, text, re.IGNORECASE)), None)
