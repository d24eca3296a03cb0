"""Data sets behind a URL: download once, then compare with the server."""

__all__: list[str] = []
