"""The only code that opens files, starts programs and uses the network, with a family of modules for each tool."""
