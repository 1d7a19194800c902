"""The project (spec, feature repo, lock), and how everything that it uses is resolved and pinned."""
