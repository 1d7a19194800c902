"""Base images made of Debian's packages by mmdebstrap."""
