"""Studies: many runs that answer one question, resumable after any kill."""
