"""Find secrets and leftovers in a feature repo before it is baked; detect-secrets knows most forms of secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from bundler.effects.feature_repo import RepoFile
from bundler.model import secret_marks

# Randomness alone does not mark a secret: fingerprints, embeddings and ids are random, too. Addresses are not secrets.
_LEFT_OUT: Final = frozenset({"Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"})
_TEXT_LIMIT: Final = 1 << 20
"""Bytes of a text that detect-secrets reads, line by line and detector by detector; people write shorter ones."""
_HEAD: Final = 8192
_KEYWORD: Final = "Secret Keyword"
# What says where a secret is, and is not one: secret_name="redis", token_url: https://...
_POINTER: Final = (
    r"""(name|path|file|dir|url|uri|ref|type|version|field|column|label|description|id)["']?\s*[:=]\s*["']?"""
)


@dataclass(frozen=True, order=True)
class SecretFinding:
    """A secret or a leftover: the file below the repo, the line (0: the file as a whole), and what it is."""

    path: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}" if self.line else f"{self.path}: {self.what}"


def scan(files: Iterable[RepoFile]) -> tuple[SecretFinding, ...]:
    """Return every finding, in order; never a secret itself.

    Raises:
        OSError: a file cannot be read any more.
    """
    # A second to load: commands that read no feature repo do without it.
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class  # noqa: PLC0415
    from detect_secrets.settings import transient_settings  # noqa: PLC0415

    classes: dict[str, type] = get_mapping_from_secret_type_to_class()
    plugins = sorted({plugin.__name__ for plugin in classes.values()} - _LEFT_OUT)
    with transient_settings({"plugins_used": [{"name": name} for name in plugins]}):
        return tuple(sorted({SecretFinding(file.path, line, what) for file in files for line, what in _in_file(file)}))


def _in_file(file: RepoFile) -> Iterator[tuple[int, str]]:
    """Yield what is found in a file by line; line 0 is the file as a whole."""
    if what := secret_marks.by_name(file.path):
        yield 0, what
    elif file.size > secret_marks.LARGEST:
        yield 0, f"{file.size} bytes, more than {secret_marks.LARGEST}"
    else:
        yield from _in_content(file)


def _in_content(file: RepoFile) -> Iterator[tuple[int, str]]:
    content = file.source.read_bytes()
    lines = dict(secret_marks.in_text(content))
    yield from lines.items()
    if file.size <= _TEXT_LIMIT and b"\0" not in content[:_HEAD]:
        yield from ((line, what) for line, what in _detected(file, content) if line not in lines)


def _detected(file: RepoFile, content: bytes) -> Iterator[tuple[int, str]]:
    from detect_secrets.core import scan as detector  # noqa: PLC0415  (as above)

    lines = content.decode(errors="replace").splitlines()
    for secret in detector.scan_file(str(file.source)):
        line = lines[secret.line_number - 1] if secret.line_number <= len(lines) else ""
        if secret.type == _KEYWORD and _points(line, secret.secret_value or ""):
            continue
        yield secret.line_number, f"detect-secrets calls it {secret.type!r}"


def _points(line: str, value: str) -> bool:
    return bool(re.search(_POINTER + re.escape(value), line, re.IGNORECASE))
