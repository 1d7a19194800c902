"""Text rendered from values: manifests, checklist, bill of materials."""
