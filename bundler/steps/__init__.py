"""What the commands do, one family of modules a subject; `docs/architecture.md` says what lies where."""
