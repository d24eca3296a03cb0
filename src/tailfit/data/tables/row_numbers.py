"""Detection of columns that only number the rows, such as the saved index of a data frame.

If rows are sorted by class, such a column gives away the class.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.text import three_parts

__all__ = ["left_out_message", "may_number_rows", "numbers_rows"]

# Names that pandas, R and polars give to the index of a data frame in a file; "" is an empty header.
_USUAL = re.compile(
    r"|unnamed: \d+(\.\d+)*(_level_\d+)?|index|level_\d+|__index_level_\d+__|row_?(nr|num|number|names?|id|index)"
    r"|\.\.\.\d+|column_\d+"
)
_GENERAL = re.compile(r"column_\d+")  # also a common name of columns of measurements


def may_number_rows(name: str) -> bool:
    """Return whether a column has a usual name of an index."""
    return _USUAL.fullmatch(name.casefold()) is not None


def numbers_rows(name: str, values: NDArray[Any]) -> bool:
    """Return whether a column has a usual name of an index and values that number rows.

    Such values are whole numbers >= 0 that are all different (for example in a subset of a table), or that count up
    from the start of each of several files. A column with a more general name must number the rows exactly, from 0 or
    1.

    Args:
        name: Name of the column.
        values: Values of the column, `[rows]`.

    >>> numbers_rows("Unnamed: 0", np.array([2, 0, 7])), numbers_rows("rpm", np.array([0, 1, 2]))
    (True, False)
    """
    if not may_number_rows(name) or values.dtype.kind not in "iuf" or not values.size:
        return False
    if not ((values >= 0) & (values == np.floor(values))).all():  # also False for NaN
        return False
    ordered = np.sort(values)
    if _GENERAL.fullmatch(name.casefold()):
        return bool((ordered - ordered[0] == np.arange(len(values))).all()) and ordered[0] <= 1
    starts = values[1:] != values[:-1] + 1
    restarts = bool((values[1:][starts] <= 1).all()) and 2 * int(starts.sum()) < len(values) - 1
    return restarts or bool((ordered[1:] != ordered[:-1]).all())


def left_out_message(where: str, names: Sequence[str], option: str) -> str:
    """Return the warning about columns that are left out of the records; `option` would include them."""
    return three_parts(
        f"{where}: row numbers in column {', '.join(map(repr, names))}, which is left out of the records",
        expected="columns of measurements, because row numbers give away the class if rows are sorted",
        fix=f"save the table without its index, or list the record columns as {option}",
    )
