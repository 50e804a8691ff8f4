"""Pictures of records and studies, by matplotlib: one file draws one kind."""
