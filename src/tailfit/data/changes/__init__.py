"""Sources that change the records of another source."""

__all__: list[str] = []
