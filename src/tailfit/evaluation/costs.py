"""The mean cost of predictions, by a matrix with a row for each true class and a column for each predicted class.

Unlike a recall, a cost has no bounds, and its mean over test samples depends on how frequent each class is among them.
Its intervals are those of a mean: Student's t times the root of the variance between samples, or between groups.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from tailfit.errors import ArgumentError
from tailfit.evaluation.grouping import Grouping
from tailfit.evaluation.metrics import Codes, Floats

__all__ = ["CostMatrix", "MeanCosts", "checked_costs"]

CostMatrix = tuple[tuple[float, ...], ...]


def checked_costs(costs: Any, num_classes: int) -> CostMatrix:
    """Return a cost matrix as tuples.

    Args:
        costs: C rows of C numbers.
        num_classes: C.
    Raises:
        ArgumentError: If the matrix has a different size, or a cost is negative, not finite, or not a number.

    >>> checked_costs([[0, 1], [5, 0]], 2)
    ((0.0, 1.0), (5.0, 0.0))
    """
    try:
        matrix = np.asarray(costs, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.full((), math.nan)
    if matrix.shape != (num_classes, num_classes):
        size = " x ".join(map(str, matrix.shape)) if matrix.ndim == 2 else f"{costs!r:.60}"
        raise ArgumentError(
            f"costs of {size} for {num_classes} classes",
            expected=f"{num_classes} rows of {num_classes} numbers: a row for each true class, a column for each "
            "predicted class",
            fix="list a row for each class, in the order of the class names",
        )
    if not (np.isfinite(matrix) & (matrix >= 0)).all():
        row, column = np.argwhere(~(np.isfinite(matrix) & (matrix >= 0)))[0]
        raise ArgumentError(
            f"costs with {matrix[row, column]:g} in row {row}, column {column}",
            expected="finite numbers >= 0",
            fix="write the gain of a correct prediction as a lower cost",
        )
    return tuple(tuple(row) for row in matrix.tolist())


class MeanCosts:
    """Mean costs of M classifiers on the same samples, and the test part of their intervals.

    Args:
        y_true: Class indices, `[n]`.
        predictions: Predicted class indices, `[M, n]`.
        costs: Checked cost matrix.
        groups: Groups of the samples, or None.

    Attributes:
        values: Mean cost of each classifier, `[M]`.

    >>> part = MeanCosts(np.array([0, 1, 1]), np.array([[0, 0, 1]]), ((0, 1), (6, 0)), None)
    >>> part.values.tolist()
    [2.0]
    """

    def __init__(self, y_true: Codes, predictions: Codes, costs: CostMatrix, groups: Grouping | None) -> None:
        self._of_each: Floats = np.asarray(costs)[y_true, predictions]
        independent = groups is None or groups.independent
        self._groups: Codes = np.arange(len(y_true)) if independent or groups is None else groups.index
        self.values: Floats = self._of_each.mean(axis=1)

    def distances(self, rows: Sequence[int], confidence: float) -> tuple[float, float]:
        """Return the distances of the ends of the interval of the mean over classifiers."""
        half = self._half(self._of_each[list(rows)].mean(axis=0), confidence)
        return half, half

    def half_width(self, new: Sequence[int], old: Sequence[int], confidence: float) -> float:
        """Return half the width of the interval of the mean difference."""
        return self._half(self._of_each[list(new)].mean(axis=0) - self._of_each[list(old)].mean(axis=0), confidence)

    def _half(self, of_each: Floats, confidence: float) -> float:
        totals = np.bincount(self._groups, weights=of_each - of_each.mean())
        number = len(totals)
        if number < 2:
            return math.inf
        variance = float(np.square(totals).sum()) * number / (number - 1) / len(of_each) ** 2
        return float(stdtrit(number - 1, (1 + confidence) / 2)) * math.sqrt(variance)
