"""The command line: it parses arguments, calls a step and prints the result."""
