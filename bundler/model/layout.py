"""The paths of a bundle's files; no other module spells them."""

from __future__ import annotations

import re
from typing import Final

from bundler.model import approval
from bundler.model.digest import Digest

OCI_LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
MANIFEST: Final = "bundle.json"
SIGNATURE: Final = "bundle.json.sig"
SIGNATURES: Final = "signatures/"
APPROVALS: Final = "approvals/"
CHECKSUMS: Final = "SHA256SUMS"
IMAGES: Final = "images.txt"
CHECKLIST_HTML: Final = "CHECKLIST.html"
CHECKLIST_JSON: Final = "checklist.json"
CHECKLIST_MARKDOWN: Final = "CHECKLIST.md"
README: Final = "README.md"
INSTALL_SCRIPT: Final = "install.sh"
VERIFIER: Final = "verify.py"
OFFLINE_PROGRAM: Final = "bundler.pyz"
OFFLINE_COMMAND: Final = f"python3 {OFFLINE_PROGRAM}"
LOCK: Final = "bundle.lock"
MANIFESTS: Final = "manifests/"
SBOM: Final = "sbom/"
PROVENANCE: Final = "provenance/"
VULNERABILITIES: Final = "vulnerabilities.json"
BUNDLE_BILL: Final = f"{SBOM}bundle.cdx.json"
BUILD: Final = "build/"
MIRRORS: Final = "mirrors/"
BLOBS: Final = "blobs/sha256/"
SUFFIX: Final = ".bundle.tar"

LAYOUT_VERSION: Final = b'{"imageLayoutVersion":"1.0.0"}'
"""Content of ``oci-layout`` (OCI image specification, ``image-layout.md``)."""

UNLISTED: Final = frozenset({MANIFEST, SIGNATURE, CHECKSUMS})
"""Files that ``bundle.json`` cannot list: itself, its signature, and the checksums, which cover it."""

MODE_FILE: Final = 0o644
MODE_PROGRAM: Final = 0o755

# Metadata comes first and blobs last, so that one read of the beginning answers `inspect`; what a person looks for
# comes before what programs look for.
_ORDER: Final = (
    *(OCI_LAYOUT, INDEX, MANIFEST, SIGNATURE, CHECKSUMS, README, IMAGES),
    *(CHECKLIST_HTML, CHECKLIST_JSON, CHECKLIST_MARKDOWN, MANIFESTS, SBOM),
    *(INSTALL_SCRIPT, VERIFIER, OFFLINE_PROGRAM, LOCK),
)
_RANK: Final = {name: rank for rank, name in enumerate(_ORDER)}
_PROGRAMS: Final = frozenset({INSTALL_SCRIPT, VERIFIER, OFFLINE_PROGRAM})
# Plain enough for every file system, shell and terminal: no space, no control character, nothing hidden.
_COMPONENT: Final = r"[A-Za-z0-9_+@][A-Za-z0-9_+@.-]*"
_PATH: Final = re.compile(rf"{_COMPONENT}(/{_COMPONENT})*")
_PATH_LENGTH: Final = 240
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_SIGNATURE: Final = re.compile(r"signatures/([0-9a-f]{64})\.sig")
_APPROVAL: Final = re.compile(rf"approvals/({approval.ROLE})-([0-9a-f]{{64}})\.(json|sig)")


def blob(digest: Digest) -> str:
    """Return the path of a blob."""
    return BLOBS + digest.hex


def blob_digest(path: str) -> Digest | None:
    """Return the digest that a blob's path names, or None where the path is not that of a blob."""
    match = _BLOB.fullmatch(path)
    return Digest(match[1]) if match else None


def signature(key_id: Digest) -> str:
    """Return the path of the signature by the key of this id, the SHA-256 of its SubjectPublicKeyInfo."""
    return f"{SIGNATURES}{key_id.hex}.sig"


def signer(path: str) -> Digest | None:
    """Return the key id that a signature's path names, or None where the path does not name one."""
    match = _SIGNATURE.fullmatch(path)
    return Digest(match[1]) if match else None


def is_signature(path: str) -> bool:
    """Tell whether a file is a signature of ``bundle.json``."""
    return path == SIGNATURE or signer(path) is not None


def approval_text(role: str, key_id: Digest) -> str:
    """Return the path of the text of an approval in a role by the key of this id; its signature lies beside it."""
    return f"{APPROVALS}{role}-{key_id.hex}.json"


def approval_signature(text: str) -> str:
    """Return the path of the signature of an approval, whose text has the path given."""
    return text.removesuffix(".json") + ".sig"


def approver(path: str) -> tuple[str, Digest] | None:
    """Return the role and the key id that the path of an approval or its signature names; None for other paths."""
    match = _APPROVAL.fullmatch(path)
    return (match[1], Digest(match[2])) if match else None


def is_attached(path: str) -> bool:
    """Tell whether a file was put in by a signer or a reviewer: a signature, an approval."""
    return is_signature(path) or approver(path) is not None


def unlisted(path: str) -> bool:
    """Tell whether ``bundle.json`` cannot list a file: itself, the checksums, which cover it, and what is attached."""
    return path in UNLISTED or is_attached(path)


def manifest(name: str) -> str:
    """Return the path of a Kubernetes manifest."""
    return MANIFESTS + name


def sbom(name: str) -> str:
    """Return the path of a bill of materials."""
    return SBOM + name


def provenance(name: str) -> str:
    """Return the path of a statement of how an image was made."""
    return PROVENANCE + name


def build(name: str) -> str:
    """Return the path of a file that a container engine built an image from."""
    return BUILD + name


def mirror(name: str) -> str:
    """Return the path of a file that lets nodes pull by public names."""
    return MIRRORS + name


def containerd_folder(registry: str) -> str:
    """Return the folder below ``/etc/containerd/certs.d`` that containerd reads for HOST or HOST:PORT.

    containerd reads ``HOST_PORT_`` on every system (its ``hostDirectory``), and no bundle has a colon in a path. It has
    no such form for IPv6 addresses: theirs get a plain name here, and must be copied to ``certs_folder``.
    """
    address, bracket, rest = certs_folder(registry).rpartition("]")
    return f"ipv6_{address.strip('[').replace(':', '-')}{rest}" if bracket else rest


def certs_folder(registry: str) -> str:
    """Return the folder's name on the node; that of ``containerd_folder`` but for IPv6 addresses."""
    host, colon, port = registry.rpartition(":")
    return f"{host}_{port}_" if colon and not host.endswith(":") and not port.endswith("]") else registry


def file_name(name: str, version: str) -> str:
    """Return the name of a bundle's file."""
    return f"{name}-{version}{SUFFIX}"


def check_path(path: str) -> None:
    """Raise ``ValueError`` for a path that is absolute, climbs, hides, or holds anything but plain characters."""
    if len(path) > _PATH_LENGTH or not _PATH.fullmatch(path):
        msg = f"not a path inside a bundle: {path!r:.300}"
        raise ValueError(msg)


def order(path: str) -> tuple[int, str]:
    """Return the key by which the files of a bundle are sorted: metadata, anything else, blobs, signatures, approvals.

    Signatures by key and approvals come last, so that one more is appended without rewriting a blob.
    """
    if path.startswith(BLOBS):
        return len(_RANK) + 1, path
    if path.startswith(SIGNATURES):
        return len(_RANK) + 2, path
    if path.startswith(APPROVALS):
        return len(_RANK) + 3, path
    folder = path.partition("/")[0] + "/" if "/" in path else path
    return _RANK.get(folder, len(_RANK)), path


def mode(path: str) -> int:
    """Return the permission bits that a file of a bundle has."""
    return MODE_PROGRAM if path in _PROGRAMS else MODE_FILE
