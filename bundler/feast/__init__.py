"""What Feast and its operator need, as pure functions."""
