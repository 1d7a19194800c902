"""Patterns of names that the spec asks for and that bundles hold; the schema of the spec shows them."""

from __future__ import annotations

from typing import Final

LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""A DNS label (RFC 1123), to be part of another pattern."""
DNS_LABEL: Final = f"^{LABEL}$"
"""A DNS label alone, which namespaces, Secrets and bundles must be called by."""
TAG: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
"""A tag of an image, which the version of a bundle becomes."""
