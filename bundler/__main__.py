"""Start the command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the only place that ends the process."""
    from bundler.cli import program  # noqa: PLC0415  (an import of this module alone stays cheap)

    program.main()


if __name__ == "__main__":
    main()
