"""Text written from values: manifests, checklist, bill of materials."""
