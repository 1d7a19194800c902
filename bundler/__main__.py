"""Start the command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the only place that ends the process."""
    from bundler.cli import program  # noqa: PLC0415  (keeps `python -c "import bundler"` cheap)

    program.main()


if __name__ == "__main__":
    main()
