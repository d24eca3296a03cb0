"""Columns that only number the rows: an index that was saved with its table. In sorted rows it tells the class."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.text import three_parts

__all__ = ["may_number_rows", "numbers_rows", "told_left_out"]

# As pandas, R and polars call the index of a data frame in a file; "" is an empty heading.
_USUAL = re.compile(
    r"|unnamed: \d+(\.\d+)*(_level_\d+)?|index|level_\d+|__index_level_\d+__|row_?(nr|num|number|names?|id|index)"
    r"|\.\.\.\d+|column_\d+"
)
_GENERAL = re.compile(r"column_\d+")  # what columns of measurements are called, too


def may_number_rows(name: str) -> bool:
    """Whether a column has the usual name of an index."""
    return _USUAL.fullmatch(name.casefold()) is not None


def numbers_rows(name: str, values: NDArray[Any]) -> bool:
    """Whether a column has the usual name of an index, and values that number rows.

    Such values are whole numbers: all different (a part of a table keeps the numbers of its rows), or counting up from
    the start of each file. A column of a more general name must number the rows exactly, from 0 or 1.

    Args:
        name: Of the column.
        values: In it, `[rows]`.

    >>> numbers_rows("Unnamed: 0", np.array([2, 0, 7])), numbers_rows("rpm", np.array([0, 1, 2]))
    (True, False)
    """
    if not may_number_rows(name) or values.dtype.kind not in "iuf" or not values.size:
        return False
    if not ((values >= 0) & (values == np.floor(values))).all():  # False for NaN too
        return False
    ordered = np.sort(values)
    if _GENERAL.fullmatch(name.casefold()):
        return bool((ordered - ordered[0] == np.arange(len(values))).all()) and ordered[0] <= 1
    starts = values[1:] != values[:-1] + 1
    again = bool((values[1:][starts] <= 1).all()) and 2 * int(starts.sum()) < len(values) - 1
    return again or bool((ordered[1:] != ordered[:-1]).all())


def told_left_out(where: str, names: Sequence[str], option: str) -> str:
    """What the warning says of columns that are left out; `option` is what would take them in."""
    return three_parts(
        f"{where}: row numbers in column {', '.join(map(repr, names))}, which are left out of the records",
        expected="columns of measurements; where rows are sorted, their numbers tell the class",
        fix=f"save tables without their index, or name the records' columns, {option}",
    )
