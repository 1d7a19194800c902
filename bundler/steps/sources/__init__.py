"""Where images come from: base images and mirrored images, brought into the cache."""
