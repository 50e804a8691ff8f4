"""The commands, one file each. :mod:`bench.cli` parses the command line and calls them."""
