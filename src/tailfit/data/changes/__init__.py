"""Preprocessing of records: padding, filling of missing values, normalisation."""

__all__: list[str] = []
