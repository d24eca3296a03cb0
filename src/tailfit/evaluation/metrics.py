"""Figures of a classifier, all from three vectors over the C classes.

Concepts:
- *support*: test samples of each class (the sum of a row of the confusion matrix).
- *hits*: of those, the ones predicted right (its diagonal).
- *predicted*: samples predicted as each class (the sum of a column).

A resample of the test set, or what is expected of one, is such three vectors too: everything here
takes any leading axes, so that a thousand resamples cost one call.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OVERALL", "Figure", "cell_counts", "class_counts", "confusion_matrix", "f1_scores", "overall"]

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

OVERALL = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "geometric_mean": "G-mean",
    "worst_class_recall": "worst class",
    "accuracy": "accuracy",
}
"""Attribute of `Evaluation` → how tables and pages call it; also the order they show it in."""


class Figure(float):
    """A number that carries its confidence interval; everywhere else it is a plain float.

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

    def __getnewargs__(self) -> Any:  # float's own, for copy and pickle, knows only the value
        return float(self), self.low, self.high

    def __repr__(self) -> str:
        return f"Figure({float(self)!r}, low={self.low!r}, high={self.high!r})"

    def __str__(self) -> str:
        return f"{float(self):.3f} [{self.low:.3f}, {self.high:.3f}]"


def confusion_matrix(y_true: Codes, y_pred: Codes, num_classes: int) -> Codes:
    """Test samples by class (rows) and by predicted class (columns), `int64[C, C]`.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    cells = np.bincount(y_true * num_classes + y_pred, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def cell_counts(y_true: Codes, y_pred: Codes, num_classes: int) -> tuple[Codes, Codes, Codes]:
    """True class, predicted class and samples of each cell of the confusion matrix that has any, row by row.

    >>> [each.tolist() for each in cell_counts(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)]
    [[0, 0, 1], [0, 1, 1], [1, 1, 2]]
    """
    cells, samples = np.unique(y_true * num_classes + y_pred, return_counts=True)
    return cells // num_classes, cells % num_classes, samples


def class_counts(y_true: Codes, y_pred: Codes, num_classes: int) -> tuple[Floats, Floats, Floats]:
    """Hits, predictions and support of each class, `[C]` each: margins of a matrix that is never made.

    >>> [counts.tolist() for counts in class_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)]
    [[1.0, 1.0], [1.0, 2.0], [2.0, 1.0]]
    """
    of_each = [np.bincount(codes, minlength=num_classes) for codes in (y_true[y_true == y_pred], y_pred, y_true)]
    hits, predicted, support = (counts.astype(np.float64) for counts in of_each)
    return hits, predicted, support


def f1_scores(hits: Floats, predicted: Floats, support: Floats) -> Floats:
    """F1 of each class, `2 hits / (support + predicted)`; 0 for a class neither present nor predicted.

    >>> f1_scores(np.array([1.0, 1.0]), np.array([1.0, 2.0]), np.array([2.0, 1.0])).round(3).tolist()
    [0.667, 0.667]
    """
    total = support + predicted
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


def overall(hits: Floats, predicted: Floats, support: Floats, counted: NDArray[np.bool_]) -> dict[str, Floats]:
    """The figures over all classes, keyed as `OVERALL`.

    Args:
        hits: Right predictions by class.
        predicted: Predictions by class.
        support: Samples by class. Classes with none are left out of every mean of recalls.
        counted: Classes that macro-F1 is the mean over: those present or predicted, as in scikit-learn.
    Shapes: `hits`, `predicted` `[..., C]`; `support`, `counted` `[C]`; each figure `[...]`, in [0, 1].

    >>> figures = overall(np.array([1.0, 1.0]), np.array([1.0, 2.0]), np.array([2.0, 1.0]), np.array([True] * 2))
    >>> float(figures["balanced_accuracy"])
    0.75
    """
    present = support > 0
    recall = hits[..., present] / support[present]
    with np.errstate(divide="ignore"):  # log(0) = -inf is meant: one recall of 0 makes the product 0
        geometric_mean = np.exp(np.log(recall).mean(axis=-1))
    return {
        "balanced_accuracy": recall.mean(axis=-1),
        "macro_f1": f1_scores(hits, predicted, np.broadcast_to(support, hits.shape))[..., counted].mean(axis=-1),
        "geometric_mean": geometric_mean,
        "worst_class_recall": recall.min(axis=-1),
        "accuracy": hits.sum(axis=-1) / support.sum(),
    }
