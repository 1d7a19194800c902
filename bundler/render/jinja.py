"""The way in which every template that lies in a folder is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jinja2

from bundler import resources


def environment(folder: str, filters: Mapping[str, Callable[..., str]]) -> jinja2.Environment:
    """Return an environment for the templates of a resource folder; a variable that nobody gave is an error.

    Nothing is escaped: no template is HTML, and what enters one is written by a filter or checked before.
    """
    templates = jinja2.Environment(  # noqa: S701  (see above)
        loader=jinja2.FileSystemLoader(resources.folder(folder)),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= filters
    return templates
