"""The checklist that a reviewer signs, assembled from what a build knows."""
