"""Figures of records and studies, drawn with matplotlib; one file for each kind."""
