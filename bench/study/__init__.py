"""Studies: what a question declares, and carrying it out so that nothing is lost."""
