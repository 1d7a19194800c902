"""A bundle as a read-only image registry."""
