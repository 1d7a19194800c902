"""Start the command line."""

from __future__ import annotations

import atexit
import gc

# New objects before the next search for cycles; 700 is Python's own.
_OBJECTS = 10_000


def main() -> None:
    """Run the command line; the only place that ends the process."""
    # Nothing that an import makes is garbage, and the end of the process frees all at once: looking for cycles at both
    # is a tenth of the time of a short command.
    gc.set_threshold(_OBJECTS)
    atexit.register(gc.freeze)
    from bundler.cli import program  # noqa: PLC0415  (an import of this module alone stays cheap)

    program.main()


if __name__ == "__main__":
    main()
