"""Python packages: indexes, uv, wheels in the cache, byte code."""
