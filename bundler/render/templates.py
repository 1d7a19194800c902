"""Jinja2 templates of the manifests: the rendered text is parsed again and compared with the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import jinja2

from bundler.errors import BundlerError
from bundler.kube import yaml_text
from bundler.kube.manifest_file import ManifestFile
from bundler.model.descriptor import Json
from bundler.render import jinja


def document(
    template: str, path: str, value: dict[str, Json], facts: Mapping[str, object] | None = None
) -> ManifestFile:
    """Render one object into the file ``path``; ``facts`` are for comments only."""
    text = _environment().get_template(f"{template}.yaml.j2").render(object=value, **facts or {})
    return _checked(template, ManifestFile(path, text), [value])


def documents(template: str, path: str, values: Sequence[dict[str, Json]]) -> ManifestFile:
    """Render several objects into the file ``path``."""
    text = _environment().get_template(f"{template}.yaml.j2").render(objects=values)
    return _checked(template, ManifestFile(path, text), values)


def _checked(template: str, file: ManifestFile, values: Sequence[dict[str, Json]]) -> ManifestFile:
    """Return the file if its text parses to the same values; a template that changes one is a bug of this program."""
    if list(file.documents) != list(values):
        raise BundlerError(f"The template {template} changes the values that it renders.", remedy="Please report this.")
    return file


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja.environment(
        "manifests",
        {
            "yaml": lambda value: yaml_text.dump(value).rstrip("\n"),
            "scalar": yaml_text.scalar,
            "block": yaml_text.block,
            "comment": yaml_text.comment,
        },
    )
