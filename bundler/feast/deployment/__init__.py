"""The FeatureStore resources of a bundle and the objects beside them."""
