"""Patterns of names that the spec asks for and that bundles hold; the schema of the spec shows them."""

from __future__ import annotations

from typing import Final

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""An RFC 1123 label, which namespaces, Secrets and bundles must be called by."""
TAG: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"
"""A tag of an image, which the version of a bundle becomes."""
