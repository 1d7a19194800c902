"""``bundler build``: bake, check and pack what a lock pins."""
