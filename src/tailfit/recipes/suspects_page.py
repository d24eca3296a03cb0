"""The page of doubtful labels."""

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from tailfit.evaluation.pages import environment, versions

__all__ = ["cell_text", "metadata_columns", "suspects_page"]

_MOST_ROWS: Final = 500
_MOST_COLUMNS: Final = 8  # of the metadata
_OWN: Final = ("id", "part", "group", "given", "likely", "suspect", "quality", "p likely")


def suspects_page(
    table: pl.DataFrame, class_names: tuple[str, ...], unjudged: Mapping[str, int], folds: int, title: str
) -> str:
    """Return a self-contained page with the suspects, and how many there are in each class.

    Args:
        table: See `Suspects.table`.
        class_names: Names of the classes.
        unjudged: Number of samples that are not judged, by class.
        folds: Number of folds.
        title: Title of the page.
    """
    found = table.filter("suspect")
    metadata = metadata_columns(table)[:_MOST_COLUMNS]
    return environment.get_template("suspects.html.j2").render(
        title=title,
        samples=table.height,
        suspects=found.height,
        folds=folds,
        unjudged=[f"{number:,} of {name}" for name, number in unjudged.items()],
        classes=_by_class(table, class_names),
        grouped="group" in table.columns,
        metadata=metadata,
        rows=[
            {**row, "metadata": [cell_text(row[name]) for name in metadata]}
            for row in found.head(_MOST_ROWS).iter_rows(named=True)
        ],
        left_out=max(0, found.height - _MOST_ROWS),
        details=versions(),
    )


def _by_class(table: pl.DataFrame, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return samples, suspects and the most frequent likely class of each class with suspects."""
    rows = []
    for name in class_names:
        of_class = table.filter(pl.col("given") == name)
        found = of_class.filter("suspect")
        if found.height:
            likely, number = found["likely"].value_counts(sort=True).row(0)
            rows.append({"name": name, "samples": of_class.height, "suspects": found.height})
            rows[-1] |= {"likely": likely, "number": number}
    return sorted(rows, key=lambda row: -row["suspects"])


def metadata_columns(table: pl.DataFrame) -> list[str]:
    """Return the names of the columns of `Suspects.table` that are metadata."""
    return [name for name in table.columns if name not in _OWN]


def cell_text(value: Any) -> str:
    """Format a value of the metadata."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
