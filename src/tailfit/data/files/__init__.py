"""Single files of each format: bytes to arrays, within stated bounds."""

__all__: list[str] = []
