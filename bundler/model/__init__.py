"""The nouns of the project: plain values that every other package speaks in."""
