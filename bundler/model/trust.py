"""Trust: whose signatures a site demands, as its trust files say it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bundler.model.digest import Digest
from bundler.model.plain_text import plain

MOST_KEYS: Final = 32
"""Keys of all trust files together: each is tried on a signature that does not say whose it is."""

FOLDER: Final = "/etc/bundler/trust.d"
"""Where a machine keeps the trust files that hold for all of its users."""

_BEGIN: Final = "-----BEGIN PUBLIC KEY-----"
_END: Final = "-----END PUBLIC KEY-----"
_SETTING: Final = re.compile(r"(?P<key>[A-Za-z]+)\s*:\s*(?P<value>.*\S)\s*")
_DER_SEQUENCE: Final = 0x30


@dataclass(frozen=True)
class PublicKey:
    """A signer's public key: what the site calls it, and its SubjectPublicKeyInfo (RFC 5280) in DER."""

    name: str
    der: bytes

    @property
    def key_id(self) -> Digest:
        """SHA-256 of the DER, as ``openssl pkey -pubin -outform DER | sha256sum`` shows it."""
        return Digest.of(self.der)

    @property
    def pem(self) -> bytes:
        """The key as PEM (RFC 7468)."""
        lines = re.findall(".{1,64}", base64.b64encode(self.der).decode("ascii"))
        return "\n".join((_BEGIN, *lines, _END, "")).encode("ascii")

    def __str__(self) -> str:
        return f"{plain(self.name)} ({self.key_id})"


@dataclass(frozen=True)
class TrustFile:
    """Keys of which ``threshold`` must have signed; ``place`` is where they are written."""

    place: str
    keys: tuple[PublicKey, ...]
    threshold: int = 1


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Trust:
    """What a bundle must be signed by: the demands of every trust file; without any, signatures are not checked.

    ``tell`` gets one line each time that a bundle was opened: by whom it is signed, or that this was not checked.
    """

    files: tuple[TrustFile, ...] = ()
    tell: Callable[[str], None] = field(default=_silent, compare=False)

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The keys of all files, each once."""
        return tuple({key.key_id: key for file in self.files for key in file.keys}.values())


UNCHECKED: Final = Trust()
"""Trust of who reads a bundle that it has just made, or has checked before."""


def parse(text: str, place: str) -> TrustFile:
    """Read a trust file: public keys in PEM, a line ``name: WORDS`` before a key, one line ``threshold: NUMBER``.

    Lines that begin with ``#`` and empty lines do not count. A file of nothing but a public key is a trust file.

    Raises:
        ValueError: naming the line; a key that is not in PEM, no key at all, a key twice, or a threshold out of range.
    """
    keys: list[PublicKey] = []
    name, threshold = "", 1
    file = place.rpartition("/")[2]
    lines = iter(enumerate(text.splitlines(), 1))
    for number, raw in lines:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line == _BEGIN:
            keys.append(PublicKey(name or (f"{file}, key {len(keys) + 1}" if keys else file), _der(lines, number)))
            name = ""
            continue
        match = _SETTING.fullmatch(line)
        if match and match["key"].lower() == "name":
            name = match["value"]
        elif match and match["key"].lower() == "threshold" and re.fullmatch("[0-9]{1,3}", match["value"]):
            threshold = int(match["value"])
        else:
            raise ValueError(f"line {number}: {line[:80]!r} is not a key in PEM, 'name: WORDS' or 'threshold: NUMBER'")
    _check(keys, threshold)
    return TrustFile(place, tuple(keys), threshold)


def _der(lines: Iterator[tuple[int, str]], begin: int) -> bytes:
    body = ""
    for _, line in lines:
        if line.strip() == _END:
            break
        body += line.strip()
    else:
        raise ValueError(f"line {begin}: the key does not end with {_END}")
    try:
        der = base64.b64decode(body, validate=True)
    except binascii.Error:
        der = b""
    if der[:1] != bytes([_DER_SEQUENCE]):
        raise ValueError(f"line {begin}: what is between BEGIN and END is not a public key")
    return der


def _check(keys: list[PublicKey], threshold: int) -> None:
    if not keys:
        raise ValueError(f"it has no public key; one begins with {_BEGIN}")
    if len(keys) > MOST_KEYS:
        raise ValueError(f"it has {len(keys)} keys; {MOST_KEYS} is the most")
    if twice := [key for number, key in enumerate(keys) if key.key_id in {other.key_id for other in keys[:number]}]:
        raise ValueError(f"it has the key {twice[0].key_id} twice")
    if not 1 <= threshold <= len(keys):
        raise ValueError(f"its threshold is {threshold}, and it has {len(keys)} keys")
