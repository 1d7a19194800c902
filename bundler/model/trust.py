"""Trust: whose signatures a site demands, as its trust files say it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bundler.model import approval
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
class Approver:
    """A reviewer's public key, and the roles in which it may approve bundles."""

    key: PublicKey
    roles: frozenset[str]


@dataclass(frozen=True)
class TrustFile:
    """Keys of which ``threshold`` must have signed; ``place`` is where they are written.

    ``approvers`` sign approvals, and never count as signers of a bundle.
    """

    place: str
    keys: tuple[PublicKey, ...]
    threshold: int = 1
    approvers: tuple[Approver, ...] = ()


@dataclass(frozen=True)
class ApprovalDemand:
    """Roles in which a bundle must be approved; ``now`` is the time at which it is asked (RFC 3339, UTC)."""

    roles: tuple[str, ...]
    now: str


def _silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Trust:
    """What a bundle must be signed by: the demands of every trust file; without any, signatures are not checked.

    ``tell`` gets one line each time that a bundle was opened: by whom it is signed, or that this was not checked.
    ``demand`` says in which roles it must also be approved.
    """

    files: tuple[TrustFile, ...] = ()
    tell: Callable[[str], None] = field(default=_silent, compare=False)
    demand: ApprovalDemand | None = None

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The keys of all files, each once."""
        return tuple({key.key_id: key for file in self.files for key in file.keys}.values())

    @property
    def approvers(self) -> Mapping[Digest, Approver]:
        """The approvers of all files by key id; what several files allow one key is put together."""
        approvers: dict[Digest, Approver] = {}
        for approver in (approver for file in self.files for approver in file.approvers):
            known = approvers.get(approver.key.key_id)
            roles = approver.roles | known.roles if known else approver.roles
            approvers[approver.key.key_id] = Approver(known.key if known else approver.key, roles)
        return approvers


UNCHECKED: Final = Trust()
"""Trust of who reads a bundle that it has just made, or has checked before."""


def parse(text: str, place: str) -> TrustFile:
    """Read a trust file: public keys in PEM, a line ``name: WORDS`` before a key, one line ``threshold: NUMBER``.

    A line ``approves: ROLE, ROLE`` before a key makes it the key of an approver, which does not count as a signer.
    Lines that begin with ``#`` and empty lines do not count. A file of nothing but a public key is a trust file.

    Raises:
        ValueError: naming the line; a key that is not in PEM, no key at all, a key twice, a role that cannot be one, or
            a threshold out of range.
    """
    keys: list[PublicKey] = []
    approvers: list[Approver] = []
    name, roles = "", frozenset[str]()
    threshold: int | None = None
    file = place.rpartition("/")[2]
    lines = iter(enumerate(text.splitlines(), 1))
    for number, raw in lines:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line == _BEGIN:
            count = len(keys) + len(approvers)
            key = PublicKey(name or (f"{file}, key {count + 1}" if count else file), _der(lines, number))
            if roles:
                approvers.append(Approver(key, roles))
            else:
                keys.append(key)
            name, roles = "", frozenset()
            continue
        match = _SETTING.fullmatch(line)
        if match and match["key"].lower() == "name":
            name = match["value"]
        elif match and match["key"].lower() == "threshold" and re.fullmatch("[0-9]{1,3}", match["value"]):
            threshold = int(match["value"])
        elif match and match["key"].lower() == "approves" and not roles:
            roles = _roles(match["value"], number)
        else:
            known = "'name: WORDS', 'approves: ROLE, ROLE' or 'threshold: NUMBER'"
            raise ValueError(f"line {number}: {line[:80]!r} is not a key in PEM, {known}")
    if roles:
        raise ValueError("no key follows its last line 'approves'")
    _check(keys, [approver.key for approver in approvers], threshold)
    return TrustFile(place, tuple(keys), (threshold or 1) if keys else 0, tuple(approvers))


def _roles(text: str, number: int) -> frozenset[str]:
    roles = frozenset(role.strip() for role in text.split(","))
    if wrong := [role for role in sorted(roles) if not re.fullmatch(approval.ROLE, role)]:
        raise ValueError(f"line {number}: {wrong[0][:60]!r} is not a role, which is of the form {approval.ROLE}")
    return roles


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


def _check(keys: list[PublicKey], approvers: list[PublicKey], threshold: int | None) -> None:
    if not keys and not approvers:
        raise ValueError(f"it has no public key; one begins with {_BEGIN}")
    for rows in (keys, approvers):
        if len(rows) > MOST_KEYS:
            raise ValueError(f"it has {len(rows)} keys; {MOST_KEYS} is the most")
        if twice := [key for number, key in enumerate(rows) if key.key_id in {other.key_id for other in rows[:number]}]:
            raise ValueError(f"it has the key {twice[0].key_id} twice")
    if threshold is not None and not 1 <= threshold <= len(keys):
        raise ValueError(f"its threshold is {threshold}, and it has {len(keys)} keys of signers")
