"""Preflight: everything that would stop an install, found before anything is changed."""
