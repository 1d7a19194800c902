"""What an operator release can do, and what it derives from a FeatureStore."""
