"""How much YAML is read: in any form, and by a parser in Python that takes 30 microseconds for an event."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.model import limits


@dataclass
class Budget:
    """What is left of the limits for all texts of one bundle, or for one text that comes alone."""

    size: int = limits.YAML_OTHER_SIZE
    events: int = limits.YAML_OTHER_EVENTS

    def take(self, size: int, events: int = 0) -> None:
        """Use some of it up; raise ``ValueError`` where too little is left."""
        self.size -= size
        self.events -= events
        if self.size < 0 or self.events < 0:
            raise ValueError(
                f"more than {limits.YAML_OTHER_SIZE} characters or {limits.YAML_OTHER_EVENTS} keys and values in other "
                "forms than block lists and mappings"
            )


def too_many_values() -> ValueError:
    """Return the error about a text with more values than a text may have, in any form."""
    return ValueError(
        f"more than {limits.YAML_VALUES} values, aliases counted as often as they are used and long texts by their "
        "length"
    )
