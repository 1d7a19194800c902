"""What a feature_store.yaml says, and what its stores need in an image."""
