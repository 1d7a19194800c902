"""Find what looks like a credential in a spec: its texts become labels, environments, manifests and documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from bundler.effects import secret_scan
from bundler.effects.secret_scan import SecretFinding
from bundler.feast.stores.feature_store_yaml import literal_credentials
from bundler.model import secret_forms, yaml_document
from bundler.model.descriptor import Json
from bundler.model.yaml_document import Path as Place

# Mappings whose keys are the user's own. Elsewhere a key such as "secret" is the spec's, and its value a name.
_FREE: Final = frozenset(
    {"env", "batchEngine", "openTelemetry", "podAnnotations", "annotations", "labels", "nodeSelector", "volumes"}
)
# What says whether, where or how long, and not which: TOKEN_REQUIRED is true, a file has the password.
_NO_SECRET: Final = re.compile(
    r"(?i)true|false|yes|no|on|off|[0-9]{0,6}|/[a-z0-9._-]{1,64}(?:/[a-z0-9._-]{1,64}){1,16}"
)


def find(text: str, file: Path) -> Iterator[SecretFinding]:
    """Yield each finding with its line; the finding's path is the file's name."""
    document = yaml_document.load(text)
    kinds = dict(secret_forms.in_text(text.encode()))
    for place in _written_out(document.value, ()):
        kinds.setdefault(document.line(place), f"{yaml_document.dotted(place)} has a credential written out")
    for line, what in secret_scan.tokens(file):
        kinds.setdefault(line, what)
    yield from (SecretFinding(file.name, line, what) for line, what in kinds.items())


def _written_out(value: Json, path: Place) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _FREE and isinstance(inner, (dict, list)):
                yield from (
                    (*path, *place) for place in literal_credentials({key: inner}) if not _harmless(inner, place[1:])
                )
            else:
                yield from _written_out(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _written_out(inner, (*path, position))


def _harmless(value: Json, place: Place) -> bool:
    """Tell whether what is at a place says of a credential something else than the credential."""
    for key in place:
        if isinstance(value, Mapping):
            value = value[str(key)]
        elif isinstance(value, list):
            value = value[int(key)]
    text = str(value)
    return bool(_NO_SECRET.fullmatch(text)) or secret_forms.is_placeholder(text)
