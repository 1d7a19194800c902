"""The only code that touches the world, one family of modules a tool."""
