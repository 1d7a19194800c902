"""Text that can be shown: what a hostile bundle, server or program chose steers no terminal and hides nothing."""

from __future__ import annotations

from typing import Final

# Letters by their category (so Python calls them printable), but fonts show nothing or join them to what stands before:
# fillers, the blank of Braille, and what Unicode calls default ignorable.
_INVISIBLE: Final = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)]
)
_VARIATIONS: Final = range(0xE0100, 0xE01F0)


def plain(text: str, *, keep: str = "") -> str:
    r"""Return text in which everything that is not a visible letter or a space is escaped, as Python writes it.

    That is: control characters, line separators (``\n``, ``\x0b``, ``\x85``, ``\u2028``), letters that turn the
    direction of writing (``\u202e``), other spaces, and letters that show nothing. Those of ``keep`` stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(letter if letter in keep or _is_visible(letter) else _escape(letter) for letter in text)


def _is_visible(letter: str) -> bool:
    return letter.isprintable() and ord(letter) not in _INVISIBLE and ord(letter) not in _VARIATIONS


def _escape(letter: str) -> str:
    # Not repr(): it leaves letters as they are that Python calls printable.
    code = ord(letter)
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
    return named or (f"\\x{code:02x}" if code < 1 << 8 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}")
