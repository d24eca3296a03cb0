"""Tables of IDs, labels and metadata, read from files and matched to records by ID."""

__all__: list[str] = []
