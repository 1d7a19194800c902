"""A container engine (Docker or Podman): finding it, its API, builds, and what killed runs left in it."""
