"""Whole machines, made by mmdebstrap: what works there is tried and written down."""
