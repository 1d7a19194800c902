"""Find secrets and leftovers in a feature repo before it is baked; detect-secrets knows most forms of secrets."""

from __future__ import annotations

import codecs
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.model import secret_forms, secret_marks

# Randomness alone does not mark a secret: fingerprints, embeddings and ids are random, too. Addresses are not secrets.
_LEFT_OUT: Final = frozenset({"Base64HighEntropyString", "HexHighEntropyString", "IPPublicDetector"})
_TEXT_LIMIT: Final = 1 << 20
"""Bytes of a text that detect-secrets reads, line by line and detector by detector; people write shorter ones."""
_HEAD: Final = 8192
_KEYWORD: Final = "Secret Keyword"
_KEYWORD_DETECTOR: Final = "KeywordDetector"
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


def scan(files: Iterable[tuple[str, Path]]) -> tuple[SecretFinding, ...]:
    """Return every finding in files, each with the name that it is known by, in order; never a secret itself.

    Raises:
        OSError: a file cannot be read any more.
    """
    with _detectors(_LEFT_OUT):
        return tuple(
            sorted({SecretFinding(name, line, what) for name, path in files for line, what in _in_file(name, path)})
        )


def in_wheel(wheel: Path) -> tuple[SecretFinding, ...]:
    """Return every finding in the files of a wheel that was built here, in order."""
    with tempfile.TemporaryDirectory(prefix="bundler-scan-") as name, zipfile.ZipFile(wheel) as archive:
        archive.extractall(name)
        folder = Path(name)
        return scan((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file())


def tokens(path: Path) -> tuple[tuple[int, str], ...]:
    """Return the line and the kind of each token of a known form in a settings file, whatever its keys are called."""
    with _detectors(_LEFT_OUT | {_KEYWORD_DETECTOR}):
        return tuple(sorted(set(_detected(path, path.read_bytes()))))


@contextmanager
def _detectors(left_out: frozenset[str]) -> Iterator[None]:
    """Let detect-secrets use all its detectors but some, in the block."""
    # A second to load: commands that read no feature repo do without it.
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class  # noqa: PLC0415
    from detect_secrets.settings import transient_settings  # noqa: PLC0415

    classes: dict[str, type] = get_mapping_from_secret_type_to_class()
    plugins = sorted({plugin.__name__ for plugin in classes.values()} - left_out)
    with transient_settings({"plugins_used": [{"name": name} for name in plugins]}):
        yield


def _in_file(name: str, path: Path) -> Iterator[tuple[int, str]]:
    """Yield what is found in a file by line; line 0 is the file as a whole."""
    size = path.stat().st_size
    if what := secret_marks.by_name(name):
        yield 0, what
    elif size > secret_marks.LARGEST:
        yield 0, f"{size} bytes, more than {secret_marks.LARGEST}"
    else:
        yield from _in_content(path, size)


def _in_content(path: Path, size: int) -> Iterator[tuple[int, str]]:
    content = _as_utf8(path.read_bytes())
    by_form = dict(secret_forms.in_text(content))
    yield from by_form.items()
    if size <= _TEXT_LIMIT and b"\0" not in content[:_HEAD]:
        yield from ((line, what) for line, what in _detected(path, content) if line not in by_form)


def _as_utf8(content: bytes) -> bytes:
    """Return a text in UTF-16, which Windows writes, such that forms of bytes are found in it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace").encode(errors="replace")
    return content


def _detected(path: Path, content: bytes) -> Iterator[tuple[int, str]]:
    from detect_secrets.core import scan as detector  # noqa: PLC0415  (as above)

    lines = content.decode(errors="replace").splitlines()
    for secret in detector.scan_file(str(path)):
        value = secret.secret_value or ""
        number = _line_of(value, lines, secret.line_number)
        line = lines[number - 1] if number <= len(lines) else ""
        if secret.type == _KEYWORD and _points(line, value):
            continue
        yield number, f"detect-secrets calls it {secret.type!r}"


def _line_of(value: str, lines: list[str], number: int) -> int:
    """Return the line of a secret: what detect-secrets says of YAML is a line off where mappings are in braces."""
    if 0 < number <= len(lines) and value in lines[number - 1]:
        return number
    return next((index for index, line in enumerate(lines, start=1) if value in line), number)


def _points(line: str, value: str) -> bool:
    return bool(re.search(_POINTER + re.escape(value), line, re.IGNORECASE))
