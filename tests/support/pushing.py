"""What a push in the tests is asked for, in few words."""

from __future__ import annotations

from typing import Any, Final

from bundler.effects.registry.endpoint import Access, Connection, Destination
from bundler.steps.transport.push import PushOptions

ALONE: Final = Connection(environment={})
"""Nothing of this machine's environment: no proxies, no logins."""

_ACCESS: Final = frozenset({"connection", "tls", "plain_http"})


def options(destination: str, **more: Any) -> PushOptions:
    """Return options of a push without TLS; ``more`` are fields of ``Access`` or ``PushOptions``."""
    access = {name: value for name, value in more.items() if name in _ACCESS}
    others = {name: value for name, value in more.items() if name not in _ACCESS}
    reached = Access(**{"connection": ALONE, "plain_http": True, **access})
    return PushOptions(Destination.parse(destination), reached, **others)
