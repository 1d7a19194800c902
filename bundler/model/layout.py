"""Where things lie inside a bundle: the only place that spells its paths."""

from __future__ import annotations

from typing import Final

from bundler.model.digest import Digest

OCI_LAYOUT: Final = "oci-layout"
INDEX: Final = "index.json"
MANIFEST: Final = "bundle.json"
SIGNATURE: Final = "bundle.json.sig"
CHECKSUMS: Final = "SHA256SUMS"
CHECKLIST_HTML: Final = "CHECKLIST.html"
CHECKLIST_JSON: Final = "checklist.json"
CHECKLIST_MARKDOWN: Final = "CHECKLIST.md"
README: Final = "README.md"
INSTALL_SCRIPT: Final = "install.sh"
VERIFIER: Final = "verify.py"
OFFLINE_PROGRAM: Final = "bundler.pyz"
LOCK: Final = "bundle.lock"
MANIFESTS: Final = "manifests/"
SBOM: Final = "sbom/"
BLOBS: Final = "blobs/sha256/"
SUFFIX: Final = ".bundle.tar"


def blob(digest: Digest) -> str:
    """Return the path of a blob."""
    return BLOBS + digest.hex


def manifest(name: str) -> str:
    """Return the path of a Kubernetes manifest."""
    return MANIFESTS + name


def sbom(name: str) -> str:
    """Return the path of a bill of materials."""
    return SBOM + name


def file_name(name: str, version: str) -> str:
    """Return the name of a bundle's file."""
    return f"{name}-{version}{SUFFIX}"
