"""The README.md in a bundle: the commands for the disconnected side."""

from __future__ import annotations

from collections.abc import Sequence

import jinja2

from bundler import resources
from bundler.model import layout
from bundler.model.delta import BaseBundle
from bundler.model.manifest import BundledImage
from bundler.render import checklist


def render(
    name: str, version: str, registry: str, images: Sequence[BundledImage], base: BaseBundle | None = None
) -> str:
    """Return the README of a bundle; ``base`` is the base bundle of a delta."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  (Markdown, and names that are references and digests)
    )
    environment.filters["code"] = checklist.code
    template = environment.from_string(resources.read("README.md.j2").decode())
    return template.render(
        name=name,
        version=version,
        file=layout.file_name(name, version),
        registry=registry,
        images=images,
        base=base,
        layout=layout,
    )
