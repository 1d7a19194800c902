"""Images as immutable values: file trees, deterministic layers, images, indexes."""
