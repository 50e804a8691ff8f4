"""Comparing runs by their records: what may be compared, by how much they differ, and whether that is significant."""
