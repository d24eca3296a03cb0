"""Readers of single files of each format, from bytes to arrays, with limits on size and memory."""

__all__: list[str] = []
