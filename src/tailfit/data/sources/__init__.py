"""Sources: one class for each storage format of records."""

__all__: list[str] = []
