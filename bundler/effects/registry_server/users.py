"""Who may read: the users of a file of passwords (htpasswd), asked by HTTP's Basic authentication."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bundler.effects import files
from bundler.effects.registry_server import sha_crypt
from bundler.errors import UsageError

_REMEDY: Final = "Make a line of it by: printf '%s:%s\\n' USER \"$(openssl passwd -6)\""
_OTHERS: Final = (
    (re.compile(r"\$2[abxy]?\$"), "bcrypt, which Python's standard library cannot compute"),
    (re.compile(r"\$(apr)?1\$"), "MD5-crypt, which is too weak"),
    (re.compile(r"\{SHA\}"), "SHA-1 without a salt, which is too weak"),
    (re.compile(r"\$y\$|\$7\$|\$gy\$"), "yescrypt or scrypt, which Python's standard library cannot compute"),
)
# Is compared with where nobody has the name, so that the time does not tell which names there are.
_NOBODY: Final = "$6$nobodynobody$" + "." * 86
_REMEMBERED: Final = 1000


class Users:
    """Names and the hashes of their passwords."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)
        self._key = os.urandom(32)
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()  # one password is computed at a time: guessing costs one core, not all

    @classmethod
    def read(cls, path: Path) -> Users:
        """Read a file of lines ``NAME:HASH``, with SHA-crypt hashes.

        Raises:
            UsageError: it cannot be read, or a line has another form; the hash is not shown.
        """
        hashes: dict[str, str] = {}
        content = files.read_text(path, "the file of passwords", error=UsageError)
        for number, line in enumerate(content.splitlines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, text = line.rstrip().partition(":")
            if fault := _fault(name, text, hashes):
                raise UsageError(f"{path}:{number}: {fault}.", remedy=_REMEDY)
            hashes[name] = text
        if not hashes:
            raise UsageError(f"{path} does not name a user.", remedy=_REMEDY)
        return cls(hashes)

    def allow(self, authorization: str | None) -> bool:
        """Tell whether the header ``Authorization`` has the name and password of a user."""
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            name, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        except binascii.Error:
            return False
        proof = hmac.digest(self._key, hashlib.sha256(name).digest() + hashlib.sha256(password).digest(), "sha256")
        if proof in self._seen:
            return True
        wanted = self._hashes.get(name.decode("utf-8", "replace"))
        with self._lock:
            right = sha_crypt.matches(password, wanted or _NOBODY)
            if right and wanted and colon and len(self._seen) < _REMEMBERED:
                self._seen.add(proof)
        return bool(right and wanted and colon)


def _fault(name: str, text: str, others: Mapping[str, str]) -> str:
    if not name or not text:
        return "it is not NAME:HASH"
    if name in others:
        return f"{name} is named twice"
    for form, what in _OTHERS:
        if form.match(text):
            return f"the password of {name} is hashed by {what}"
    try:
        sha_crypt.check(text)
    except ValueError as error:
        return f"the password of {name}: {error}"
    return ""
