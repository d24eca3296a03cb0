"""Records as values: nested and ragged arrays, their dtypes, and the check for NaN and infinity."""

__all__: list[str] = []
