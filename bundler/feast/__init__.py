"""What Feast and its operator need, as pure functions, one family of modules a subject."""
