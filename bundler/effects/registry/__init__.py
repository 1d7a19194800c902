"""An OCI distribution client of our own: parallel, resumable, verifying; offline half."""
