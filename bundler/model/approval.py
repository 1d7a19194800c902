"""Approvals: a reviewer's sign-off of one bundle in one role, as the text that the reviewer signs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from bundler.model import json_document, limits
from bundler.model.descriptor import Json
from bundler.model.digest import Digest
from bundler.model.plain_text import plain

TYPE: Final = "feast-bundler-approval-v1"
"""In each text, so that no signature of anything else is taken for an approval."""
ROLE: Final = "[a-z][a-z0-9-]{0,31}"
MOST: Final = 32
"""Approvals of one bundle."""
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_NAME_LENGTH: Final = 100
_COMMENT_LENGTH: Final = 1000


@dataclass(frozen=True)
class Approval:
    """What a reviewer signs; ``digest`` is that of ``bundle.json``, times are in RFC 3339, UTC, to the second.

    ``expires`` is the first moment in which it does not count any more; empty where it does not end.
    """

    bundle: str
    digest: Digest
    role: str
    name: str
    time: str
    comment: str = ""
    expires: str = ""

    def check(self) -> None:
        """Raise ``ValueError`` for a role, a time or a text that no approval has."""
        if not re.fullmatch(ROLE, self.role):
            raise ValueError(f"the role {self.role!r:.60} is not of the form {ROLE}")
        for text, what, longest in (
            (self.bundle, "bundle", 2 * limits.APPROVAL_SIZE),
            (self.name, "name", _NAME_LENGTH),
            (self.comment, "comment", _COMMENT_LENGTH),
        ):
            if len(text) > longest or plain(text) != text:
                raise ValueError(f"the {what} is longer than {longest} characters, or has some that cannot be seen")
        if not self.name.strip():
            raise ValueError("the name is empty")
        for text, what in ((self.time, "time"), *([(self.expires, "end")] if self.expires else [])):
            if not is_time(text):
                raise ValueError(f"the {what} {text!r:.40} is not a time such as 2026-11-30T17:00:00Z")

    def expired(self, now: str) -> bool:
        """Tell whether it has ended; ``now`` is in RFC 3339, UTC, to the second."""
        return bool(self.expires) and now >= self.expires

    def to_bytes(self) -> bytes:
        """Return the one form in which it is signed: for people, a line each value."""
        return (json.dumps(self.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def to_json(self) -> dict[str, Json]:
        """Return the approval for scripts."""
        value: dict[str, Json] = {
            "type": TYPE,
            "bundle": self.bundle,
            "digest": str(self.digest),
            "role": self.role,
            "name": self.name,
            "time": self.time,
            "comment": self.comment,
        }
        if self.expires:
            value["expires"] = self.expires
        return value

    @classmethod
    def parse(cls, content: bytes) -> Approval:
        """Read what was signed; raise ``ValueError`` where it is not an approval in its one form."""
        value = json_document.parse_object(content, "it", size=limits.APPROVAL_SIZE)
        expires = value.get("expires", "")
        match value:
            case {
                "type": "feast-bundler-approval-v1",
                "bundle": str(bundle),
                "digest": str(digest),
                "role": str(role),
                "name": str(name),
                "time": str(time),
                "comment": str(comment),
            } if isinstance(expires, str):
                read = cls(bundle, Digest.parse(digest), role, name, time, comment, expires)
                read.check()
                if read.to_bytes() == content:
                    return read
        raise ValueError("it is not an approval as bundler approve writes it")


def is_time(text: str) -> bool:
    """Tell whether this is a time that there is, in RFC 3339, UTC, to the second."""
    import datetime as dt  # noqa: PLC0415  (start-up time of the offline program)

    if not _TIME.fullmatch(text):
        return False
    try:
        dt.datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return False
    return True
