"""Confinement: run code that arrived from elsewhere without any way to this machine."""
