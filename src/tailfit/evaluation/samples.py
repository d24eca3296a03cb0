"""`Samples`: labels and scores of test samples together with their IDs, groups and metadata, all checked."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import log_softmax

from tailfit.evaluation.grouping import Grouping
from tailfit.evaluation.metrics import Codes, Floats

__all__ = ["Samples", "are_probabilities", "log_probabilities", "score_matrix"]

_ROUNDING = 1e-3  # how much the sum of probabilities may differ from 1, in half precision, for example


@dataclass(frozen=True, eq=False)
class Samples:
    """Test samples of one classifier.

    Attributes:
        y_true, y_pred: Class indices, `[n]`.
        class_names: Names of the C classes.
        scores: Probabilities or logits, `[n, C]`; None if only predicted classes are known.
        groups: Grouping of the samples, or None.
        ids: ID of each sample, or None.
        metadata: One row for each sample, or None.
    """

    y_true: Codes
    y_pred: Codes
    class_names: tuple[str, ...]
    scores: NDArray[Any] | None = None
    groups: Grouping | None = None
    ids: tuple[str, ...] | None = None
    metadata: pl.DataFrame | None = None


def score_matrix(y_score: Any, num_classes: int) -> NDArray[Any] | None:
    """Return the scores as a read-only matrix without a copy, float32 or float64; None for predicted classes."""
    scores = np.asarray(y_score)
    if scores.ndim != 2 or scores.shape[1] != num_classes or num_classes < 2:
        return None
    matrix = scores.view() if scores.dtype in (np.float32, np.float64) else scores.astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def are_probabilities(scores: NDArray[Any]) -> bool:
    """Return whether scores are probabilities: none is negative, and each row sums to one. Otherwise they are logits.

    >>> are_probabilities(np.array([[0.2, 0.8]])), are_probabilities(np.array([[0.2, 0.9]]))
    (True, False)
    """
    if not scores.size or float(scores.min()) < 0 or float(scores.max()) > 1 + _ROUNDING:
        return False
    return bool(np.abs(scores.sum(axis=1, dtype=np.float64) - 1).max() <= _ROUNDING)


def log_probabilities(scores: NDArray[Any], *, given: bool) -> Floats:
    """Return the logarithms of the probabilities of scores, `float64[n, C]`; a probability of 0 counts as 1e-12.

    Args:
        scores: Probabilities or logits, `[n, C]`; a logit may be infinite.
        given: Whether they are probabilities, see `are_probabilities`.

    >>> log_probabilities(np.array([[0.0, 0.0]]), given=False).round(3).tolist()
    [[-0.693, -0.693]]
    """
    values = scores.astype(np.float64)
    if given:
        values = values / values.sum(axis=1, keepdims=True)
        return np.asarray(np.log(np.maximum(values, 1e-12)), np.float64)
    limit = np.finfo(np.float32).max
    return np.asarray(np.maximum(log_softmax(np.clip(values, -limit, limit), axis=1), np.log(1e-12)), np.float64)
