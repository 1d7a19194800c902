"""Jinja2 templates of the manifests: what is rendered is read back and compared with what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import jinja2

from bundler.errors import BundlerError
from bundler.kube import yaml_text
from bundler.model.descriptor import Json
from bundler.render import jinja


def document(template: str, value: dict[str, Json], facts: Mapping[str, object] | None = None) -> str:
    """Render one object; ``facts`` are for comments only."""
    return _checked(
        template, _environment().get_template(f"{template}.yaml.j2").render(object=value, **facts or {}), [value]
    )


def documents(template: str, values: Sequence[dict[str, Json]], facts: Mapping[str, object] | None = None) -> str:
    """Render several objects into one file."""
    text = _environment().get_template(f"{template}.yaml.j2").render(objects=values, **facts or {})
    return _checked(template, text, list(values))


def _checked(template: str, text: str, values: list[dict[str, Json]]) -> str:
    """Return the text where it reads back as the values; a template that loses or changes anything is a bug of ours."""
    if list(yaml_text.documents(text, template)) != values:
        raise BundlerError(f"The template {template} does not write what it was given.", remedy="Please report this.")
    return text


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
