"""What the configuration files of pip and uv say about package indexes."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bundler.effects import files
from bundler.model import toml_document


def pip_options(environment: Mapping[str, str], home: Path, machine: Path) -> Mapping[str, str]:
    """Return the options of pip's files; the user's win over the machine's, those of ``install`` over ``global``.

    Files that cannot be read are passed over: pip would complain, but it is not pip that runs.
    """
    named = environment.get("PIP_CONFIG_FILE")
    if named == os.devnull:  # pip's way to say: read none
        return {}
    user = [Path(named)] if named else [home / ".pip/pip.conf", _config_home(environment, home) / "pip/pip.conf"]
    parser = configparser.RawConfigParser(strict=False)
    for path in (machine / "pip.conf", *user):
        _read_into(parser, path)
    sections = [dict(parser.items(name)) for name in ("global", "install") if parser.has_section(name)]
    return {key: value for section in sections for key, value in section.items()}


def uv_indexes(environment: Mapping[str, str], home: Path, machine: Path) -> tuple[tuple[str, str], ...]:
    """Return name (or nothing) and URL of every index in uv's files; it is uv that says what is wrong with them."""
    named = environment.get("UV_CONFIG_FILE")
    places = [Path(named)] if named else [_config_home(environment, home) / "uv/uv.toml", machine / "uv/uv.toml"]
    return tuple(index for path in places for index in _indexes(_settings(path)))


def _config_home(environment: Mapping[str, str], home: Path) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config")


def _read_into(parser: configparser.RawConfigParser, path: Path) -> None:
    try:
        parser.read_string(files.read_bytes(path).decode())
    except (configparser.Error, OSError, UnicodeDecodeError):
        return


def _settings(path: Path) -> Mapping[str, object]:
    try:
        return toml_document.parse(files.read_bytes(path).decode())
    except (OSError, ValueError):
        return {}


def _indexes(settings: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    rows = settings.get("index")
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping) and isinstance(row.get("url"), str):
            yield str(row.get("name", "")), str(row["url"])
    for table in (settings, settings.get("pip")):
        for key in ("index-url", "extra-index-url") if isinstance(table, Mapping) else ():
            value = table[key] if isinstance(table, Mapping) and key in table else ()
            yield from [("", value)] if isinstance(value, str) else [("", str(url)) for url in value]
