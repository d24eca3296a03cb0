"""Sources: one class for each place that records can be stored in."""

__all__: list[str] = []
