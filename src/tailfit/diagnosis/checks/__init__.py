"""The checks, one family of traps per file; each file registers its own when it is imported."""

__all__: list[str] = []
