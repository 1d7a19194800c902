"""Limits: how much of each input this program reads, so that its work never grows faster than the bytes it was given.

Every reader takes its limit from here; docs/bundle-format.md lists those of bundles. What is past a limit is refused
with an error that names the limit. Tests read each input at its limit and past it.
"""

from __future__ import annotations

from typing import Final

# --- bundles ---------------------------------------------------------------------------------------------------------

BUNDLE_MANIFEST_SIZE: Final = 8 << 20
"""Bytes of ``bundle.json``; one of the most files that a bundle may have is smaller."""
BUNDLE_FILES: Final = 20_000
"""Files of a bundle, and blobs that a delta leaves to its base; a bundle of ten images has a few hundred."""
BUNDLE_IMAGES: Final = 1_000
"""Images of a bundle."""
SIGNATURE_SIZE: Final = 8 << 10
"""Bytes of ``bundle.json.sig``; one of ECDSA P-256 has 72, one of RSA with 16384 bits has 2048."""
APPROVAL_SIZE: Final = 8 << 10
"""Bytes of the text of an approval; a comment has at most 1000 characters."""
DOCUMENT_SIZE: Final = 16 << 20
"""Bytes of any other file that is not a blob: checklists, bills of materials, ``bundler.pyz``."""
METADATA_SIZE: Final = 64 << 20
"""Bytes of all files of a bundle that are not blobs."""
VOLUMES: Final = 500
"""Volumes of a bundle; each is an open file while it is read, and a process may usually have 1024."""
VOLUME_SUMS_SIZE: Final = 1 << 20
"""Bytes of the file of checksums beside the volumes."""
LATEST_TIME: Final = 0o77777777777
"""Seconds since 1970 that a header of a tar can say: in the year 2242."""

# --- JSON ------------------------------------------------------------------------------------------------------------

JSON_VALUES: Final = 500_000
"""Values in one JSON document, counted by its commas and brackets before it is parsed."""
JSON_DEPTH: Final = 32
"""Lists and objects inside each other; a manifest of an image has five."""
DIGITS: Final = 40
"""Digits of a whole number in JSON or YAML; 64 bits have 20."""
IMAGE_DOCUMENT_SIZE: Final = 4 << 20
"""Bytes of a manifest, an index or a config of an image; registries take no larger manifests."""
DESCRIPTORS: Final = 512
"""Entries of an index, and layers of an image; overlayfs takes 128."""
INDEX_DEPTH: Final = 3
"""Indexes inside each other."""
COMPANION_DEPTH: Final = 4
"""Artifacts that refer to an artifact that refers to an image, and so on; a signed bill of materials has two."""
IMAGE_NODES: Final = 10_000
"""Entries of all indexes of one image."""

# --- YAML ------------------------------------------------------------------------------------------------------------

YAML_SIZE: Final = 4 << 20
"""Characters of a YAML file; the operator's manifest has 1.4 million."""
YAML_VALUES: Final = 200_000
"""Values of a YAML file, aliases counted as often as they are used, 32 characters of a text counted as one more."""
YAML_CHARACTERS: Final = 32
"""Characters of a text that count as one value more."""
YAML_OTHER_SIZE: Final = 3 << 19
"""Characters of YAML in other forms than block lists and mappings, in all manifests of a bundle; see ``plain_yaml``."""
YAML_OTHER_EVENTS: Final = 60_000
"""Values, keys and ends of lists in it; the operator's manifest would have 42,000."""
YAML_DEPTH: Final = 100
"""Lists and mappings inside each other; the schema in the operator's manifest has about 40."""
MANIFESTS_SIZE: Final = 8 << 20
"""Bytes of all Kubernetes manifests of a bundle."""
MANIFESTS_VALUES: Final = 250_000
"""Values in all of them, counted by line ends, commas, colons and brackets; the operator's has 44,000."""
KUSTOMIZE_DEPTH: Final = 8
"""Kustomizations inside each other."""
KUSTOMIZE_PATCHES: Final = 20
"""Patches of one kustomization."""
SPEC_SIZE: Final = 1 << 17
"""Characters of ``bundle.yaml`` and ``feature_store.yaml``; people write a few thousand."""
SPEC_DEPTH: Final = 32
"""Lists and mappings inside each other there."""
SPEC_VALUES: Final = 50_000
"""Values there, aliases counted as often as they are used."""

# --- TOML ------------------------------------------------------------------------------------------------------------

TOML_SIZE: Final = 16 << 20
"""Characters of a TOML file; a large ``uv.lock`` has two million."""
TOML_DOTS: Final = 300
"""Dots in one line of a TOML file, those in texts left out: each part of a key costs as much as all before it."""

# --- texts -----------------------------------------------------------------------------------------------------------

DIFF_LINES: Final = 400_000
"""Lines that ``bundler diff`` compares, over all texts of both bundles; the operator's manifest has 27,000."""
IGNORE_PATTERNS: Final = 10_000
"""Lines of ``.bundlerignore`` and entries of ``repo.include`` and ``repo.exclude``."""
IGNORE_LENGTH: Final = 1024
"""Characters of one of them."""
IGNORE_DOUBLE_STARS: Final = 4
"""How often ``**`` may stand in one of them."""
