"""Figures of a classifier, all computed from three vectors over the C classes.

Concepts:
- *support*: test samples of each class (the row sums of the confusion matrix).
- *hits*: correctly predicted test samples of each class (its diagonal).
- *predicted*: samples predicted as each class (its column sums).

A resample of the test set, and the expectation of one, are three such vectors too. The functions here accept any
leading axes, so that a thousand resamples cost one call.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OVERALL",
    "Codes",
    "Figure",
    "Floats",
    "cell_counts",
    "class_counts",
    "class_metrics",
    "confusion_matrix",
    "f1_scores",
    "overall",
    "read_only",
]

Codes = NDArray[np.int64]  # class indices
Floats = NDArray[np.float64]

OVERALL = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "geometric_mean": "G-mean",
    "worst_class_recall": "worst class",
    "accuracy": "accuracy",
}
"""Attributes of `Evaluation` and their names in tables and pages, in the order in which they are shown."""


class Figure(float):
    """A number with its confidence interval; a plain float in every other respect.

    Args:
        value: The figure itself.
        low: Lower end of the interval.
        high: Upper end of the interval.

    >>> recall = Figure(0.5, low=0.25, high=0.75)
    >>> recall == 0.5, recall.low, recall
    (True, 0.25, Figure(0.5, low=0.25, high=0.75))
    >>> print(recall)
    0.500 [0.250, 0.750]
    """

    __slots__ = ("high", "low")
    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> "Figure":
        figure = super().__new__(cls, value)
        figure.low, figure.high = float(low), float(high)
        return figure

    def __getnewargs__(self) -> Any:  # copy and pickle call it; float's own version returns only the value
        return float(self), self.low, self.high

    def __repr__(self) -> str:
        return f"Figure({float(self)!r}, low={self.low!r}, high={self.high!r})"

    def __str__(self) -> str:
        return f"{float(self):.3f} [{self.low:.3f}, {self.high:.3f}]"


def confusion_matrix(y_true: Codes, y_pred: Codes, num_classes: int) -> Codes:
    """Count test samples by class (rows) and predicted class (columns), `int64[C, C]`.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(y_true * num_classes + y_pred, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def cell_counts(y_true: Codes, y_pred: Codes, num_classes: int) -> tuple[Codes, Codes, Codes]:
    """Return row, column and count of each non-empty cell of the confusion matrix, row by row.

    >>> [each.tolist() for each in cell_counts(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)]
    [[0, 0, 1], [0, 1, 1], [1, 1, 2]]
    """
    cells, samples = np.unique(y_true * num_classes + y_pred, return_counts=True)
    return cells // num_classes, cells % num_classes, samples


def class_counts(y_true: Codes, y_pred: Codes, num_classes: int) -> tuple[Floats, Floats, Floats]:
    """Return hits, predictions and support of each class, `[C]` each, without building the confusion matrix.

    >>> [counts.tolist() for counts in class_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)]
    [[1.0, 1.0], [1.0, 2.0], [2.0, 1.0]]
    """
    counted = [np.bincount(each, minlength=num_classes) for each in (y_true[y_true == y_pred], y_pred, y_true)]
    hits, predicted, support = (counts.astype(np.float64) for counts in counted)
    return hits, predicted, support


def f1_scores(hits: Floats, predicted: Floats, support: Floats) -> Floats:
    """Return the F1 of each class, `2 hits / (support + predicted)`; 0 for a class neither present nor predicted.

    >>> f1_scores(np.array([1.0, 1.0]), np.array([1.0, 2.0]), np.array([2.0, 1.0])).round(3).tolist()
    [0.667, 0.667]
    """
    total = support + predicted
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


def class_metrics(hits: Floats, predicted: Floats, support: Floats) -> tuple[Floats, Floats, Floats]:
    """Return recall, precision and F1 of each class, `[C]` each; NaN where undefined.

    >>> [each.tolist() for each in class_metrics(np.array([1.0, 0]), np.array([1.0, 1]), np.array([2.0, 0]))]
    [[0.5, nan], [1.0, 0.0], [0.6666666666666666, 0.0]]
    """
    with np.errstate(invalid="ignore"):  # 0 / 0 = NaN is intended
        recall, precision = hits / support, hits / predicted
    return recall, precision, np.where(support + predicted > 0, f1_scores(hits, predicted, support), np.nan)


def overall(hits: Floats, predicted: Floats, support: Floats, counted: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return the figures over all classes, with the keys of `OVERALL`.

    Args:
        hits: Correct predictions by class.
        predicted: Predictions by class.
        support: Samples by class. Means of recalls leave out classes without samples.
        counted: Mask of the classes that macro-F1 averages over: those present or predicted, as in scikit-learn.
    Shapes: `hits`, `predicted` `[..., C]`; `support`, `counted` `[C]`; each figure `[...]`, in [0, 1].

    >>> figures = overall(np.array([1.0, 1.0]), np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([True] * 2))
    >>> float(figures["balanced_accuracy"])
    0.75
    """
    present = support > 0
    recall = hits[..., present] / support[present]
    with np.errstate(divide="ignore"):  # log(0) = -inf is intended: one recall of 0 makes the product 0
        geometric_mean = np.exp(np.log(recall).mean(axis=-1))
    return {
        "balanced_accuracy": recall.mean(axis=-1),
        "macro_f1": f1_scores(hits, predicted, np.broadcast_to(support, hits.shape))[..., counted].mean(axis=-1),
        "geometric_mean": geometric_mean,
        "worst_class_recall": recall.min(axis=-1),
        "accuracy": hits.sum(axis=-1) / support.sum(),
    }


def read_only(array: Codes) -> Codes:
    """Return a copy that can't be written to."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy
