"""The values that all other packages pass to each other: specs, locks, manifests, digests and findings."""
