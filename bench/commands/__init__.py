"""The commands, one file each: what a command does once its words are understood by :mod:`bench.cli`."""
