"""Data sets at URLs: downloaded once, then compared with the server."""

__all__: list[str] = []
