"""What a feature_store.yaml says, as far as building and deploying depend on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from bundler.errors import SpecError
from bundler.model.descriptor import Json

FILE_NAME: Final = "feature_store.yaml"
# Feast expands variables in the text before it parses it (os.path.expandvars): $NAME and ${NAME}.
_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}\s]+)\})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Feast's own rule, and the pattern of the operator's feastProject.
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
_PASSWORD_KEY = re.compile(r"(password|passwd|secret|token|api_?key|private_key|credentials_json)$", re.IGNORECASE)
_PASSWORD_IN_TEXT = re.compile(r"(://[^/@:\s]*:(?P<url>[^@\s]+)@)|(password=(?P<option>[^,\s&;]+))", re.IGNORECASE)


@dataclass(frozen=True)
class FeatureStoreConfig:
    """A parsed feature_store.yaml; ``text`` is what was parsed, ``variables`` the names of its ``${VARIABLES}``."""

    project: str
    provider: str
    online_store: Mapping[str, Json]
    offline_store: Mapping[str, Json]
    registry: Mapping[str, Json]
    auth: str
    variables: tuple[str, ...]
    text: str

    @property
    def online_type(self) -> str:
        """Type of the online store; Feast's default is sqlite."""
        return _kind(self.online_store, "type", "sqlite")

    @property
    def offline_type(self) -> str:
        """Type of the offline store; Feast's default is dask ("file" is its older name)."""
        return _kind(self.offline_store, "type", "dask")

    @property
    def registry_type(self) -> str:
        """Type of the registry; Feast's default is a file."""
        return _kind(self.registry, "registry_type", "file")


def _kind(store: Mapping[str, Json], key: str, default: str) -> str:
    value = store.get(key)
    return value if isinstance(value, str) else default


def parse(text: str, file: str) -> FeatureStoreConfig:
    """Read the text of a feature_store.yaml.

    Raises:
        SpecError: it is not YAML, not a mapping, or its project has a name that Feast or the operator refuses.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark else file
        raise SpecError(f"{place}: not YAML: {getattr(error, 'problem', None) or error}.") from error
    except RecursionError as error:
        raise SpecError(f"{file}: nested too deeply.") from error
    if not isinstance(value, dict):
        raise SpecError(f"{file}: expected a mapping with 'project', 'registry', 'online_store'.")
    project = value.get("project")
    if not isinstance(project, str) or not _PROJECT.fullmatch(project):
        raise SpecError(
            f"{file}:{_line(text, 'project')}: project: {project!r} is not a project name.",
            remedy="Use letters, digits and underscores, beginning with a letter or digit.",
        )
    return FeatureStoreConfig(
        project=project,
        provider=str(value.get("provider", "local")),
        online_store=_store(value, "online_store", "type", file, text),
        offline_store=_store(value, "offline_store", "type", file, text),
        registry=_store(value, "registry", "path", file, text),
        auth=_kind(_store(value, "auth", "type", file, text), "type", "no_auth"),
        variables=_variables(text),
        text=text,
    )


def _store(document: Mapping[str, Json], key: str, short: str, file: str, text: str) -> Mapping[str, Json]:
    """Return a store's mapping; a bare text stands for its type, or for the registry's path, as in Feast."""
    value = document.get(key)
    if value is None:
        return {}
    if isinstance(value, str):
        return {short: value}
    if isinstance(value, dict):
        return value
    raise SpecError(f"{file}:{_line(text, key)}: {key}: expected a mapping, got {value!r:.80}.")


def _line(text: str, key: str) -> int:
    """Return the number of the line on which a top-level key stands, 1 where it does not."""
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.startswith(f"{key}:")), 1)


def _variables(text: str) -> tuple[str, ...]:
    # A comment may mention a variable without using it.
    used = "\n".join(line.partition(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
    names = {match[1] or match[2] for match in _VARIABLE.finditer(used)}
    return tuple(sorted(name for name in names if _NAME.fullmatch(name)))


def literal_credentials(config: FeatureStoreConfig) -> tuple[str, ...]:
    """Return where a credential is written out instead of being a ``${VARIABLE}``; never the value."""
    found: list[str] = []
    for name in ("online_store", "offline_store", "registry"):
        _search(getattr(config, name), name, found)
    return tuple(found)


def _search(value: Json, path: str, found: list[str]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str) and _PASSWORD_KEY.search(key) and inner and "$" not in inner:
                found.append(f"{path}.{key}")
            else:
                _search(inner, f"{path}.{key}", found)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            _search(inner, f"{path}[{position}]", found)
    elif isinstance(value, str):
        match = _PASSWORD_IN_TEXT.search(value)
        if match and "$" not in (match["url"] or match["option"]):
            found.append(path)
