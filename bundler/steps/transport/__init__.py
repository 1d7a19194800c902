"""A bundle on its way: pushed to a registry, served as one, loaded into an engine."""
