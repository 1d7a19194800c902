"""What packages say of their licences, in core metadata and copyright files; as SPDX where it is clear."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.parser import HeaderParser
from typing import Final

# Classifiers of PyPI that name one licence, without their beginning "License :: OSI Approved :: ".
_CLASSIFIERS: Final = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "",  # which of several is not said
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
}
# What people and Debian write for one of SPDX's identifiers, in lower case.
_NAMES: Final = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache license version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache2": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "expat": "MIT",
    "mit license": "MIT",
    "the mit license": "MIT",
    "mpl 2.0": "MPL-2.0",
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
}
_IDENTIFIERS: Final = (
    "0BSD AFL-2.1 Apache-2.0 Artistic-1.0-Perl Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-4-Clause BSL-1.0 CC-BY-4.0 "
    "CC0-1.0 EPL-2.0 GFDL-1.3-only GFDL-1.3-or-later GPL-1.0-or-later GPL-2.0-only GPL-2.0-or-later GPL-3.0-only "
    "GPL-3.0-or-later ISC LGPL-2.0-only LGPL-2.0-or-later LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only "
    "LGPL-3.0-or-later MIT MIT-0 MPL-1.1 MPL-2.0 NCSA OpenSSL PSF-2.0 Python-2.0 Unicode-3.0 Unlicense UPL-1.0 WTFPL "
    "X11 Zlib ZPL-2.1 bzip2-1.0.6 curl"
)
_SPDX: Final = {name.lower(): name for name in _IDENTIFIERS.split()}
_GNU: Final = re.compile(r"(A?L?GPL|GFDL)-([0-9])(?:\.([0-9]))?(\+?)", re.IGNORECASE)
_BY_CLASSIFIER: Final = "License :: OSI Approved :: "
_SHORT: Final = 100
_MOST: Final = 40
_DEP5: Final = re.compile(r"^License:[ \t]*(\S[^\n]{0,200})$", re.MULTILINE | re.IGNORECASE)


def spdx(name: str) -> str:
    """Return the identifier of SPDX for a licence's name, empty where it is not known here."""
    plain = name.strip().lower()
    if plain in _SPDX:
        return _SPDX[plain]
    if plain in _NAMES:
        return _NAMES[plain]
    if match := _GNU.fullmatch(name.strip()):
        family, major, minor, later = match.groups()
        identifier = f"{family.upper()}-{major}.{minor or '0'}-{'or-later' if later else 'only'}"
        return _SPDX.get(identifier.lower(), "")
    return ""


def is_spdx(name: str) -> bool:
    """Tell whether a text is an identifier of SPDX that is known here."""
    return _SPDX.get(name.lower()) == name


def is_expression(text: str) -> bool:
    """Tell whether a text is an expression of several identifiers of SPDX that are known here."""
    words = re.split(r" (?:AND|OR) ", text.replace("(", "").replace(")", ""))
    return len(words) > 1 and all(is_spdx(word) for word in words)


def of_metadata(text: str) -> tuple[str, ...]:
    """Return the licences of core metadata: ``License-Expression``, or else classifiers, or else ``License``.

    Identifiers of SPDX and expressions are as they are; anything else is the name that its maker wrote.
    """
    headers = HeaderParser().parsestr(text)
    if expression := str(headers.get("License-Expression") or "").strip():
        return (spdx(expression) or expression[:_SHORT],)
    written = str(headers.get("License") or "").strip()
    short = written if len(written) <= _SHORT and "\n" not in written and written.upper() != "UNKNOWN" else ""
    if identifier := spdx(short):
        return (identifier,)
    classified = [str(row) for row in headers.get_all("Classifier") or [] if str(row).startswith("License ::")]
    named = (row.removeprefix(_BY_CLASSIFIER).rpartition(" :: ")[2] for row in classified)
    licences = [_CLASSIFIERS.get(name, name) or short or name for name in named if name != "OSI Approved"]
    return _each_once(licences or [short])


def of_copyright(text: str) -> tuple[str, ...]:
    """Return the licences that a copyright file of Debian names in its machine-readable form; none of other files."""
    if not text.lstrip("\ufeff \n").lower().startswith("format:"):
        return ()
    rows = (row.strip() for match in _DEP5.finditer(text) for row in re.split(r" and |, ", match[1]))
    return _each_once(sorted({spdx(row) or row[:_SHORT] for row in rows}))


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, names)))[:_MOST]
