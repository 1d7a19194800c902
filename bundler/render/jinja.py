"""The Jinja2 environment of all templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jinja2

from bundler import resources


def environment(folder: str, filters: Mapping[str, Callable[..., str]]) -> jinja2.Environment:
    """Return an environment for the templates of a resource folder; an undefined variable is an error.

    Nothing is escaped: templates are not HTML, and filters or earlier checks make values safe.
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
