"""The program skopeo: reading images from places that are not registries."""
