"""Decision thresholds: the score above which a class is predicted.

Concepts:
- *cuts between scores*: samples with equal scores get equal predictions, so only the distinct scores matter as
  thresholds. A cut is placed half-way to the next score, in log-odds, where rounding cannot move a sample across it.
- *several classes*: each has a threshold t_c, found for the class against the rest, and the predicted class is the one
  with the largest p_c / t_c. For two classes, with t_0 = 1 - t_1, this is p_1 > t_1.
- *costs*: for two classes, the threshold with the lowest cost on the validation data. For more classes, thresholds
  cannot express the best decision: the class with the lowest expected cost is predicted, from probabilities that should
  be calibrated first.
"""

from typing import Any, Self

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, log_softmax

from tailfit.arguments import REQUIRED
from tailfit.errors import ArgumentError, DataError
from tailfit.posthoc.base import Correction, Floats, checked_weights
from tailfit.posthoc.layers import ExpectedCost

__all__ = ["Thresholds"]

_CRITERIA = ("youden", "gmean", "f1")


class Thresholds(Correction):
    """Predict a class above the threshold that is best on the validation data by a chosen criterion.

    Args:
        criterion: Criterion to maximise: `"youden"` is recall + specificity - 1, `"gmean"` their geometric mean, and
            `"f1"` the F1 score. Or a C x C matrix of costs, whose total is minimised: entry (i, j) is the cost of
            predicting class j for a sample of class i.
        multi_label: Whether each column is an independent label (sigmoid) with its own threshold; costs are then 2 x 2.
            A single column, for the two classes 0 and 1, is treated in the same way.
        from_logits: Whether the scores are logits. Required: omitting it raises `ArgumentError`.
    Attributes:
        thresholds_: Threshold of each class as a probability, `float64[C]`. A label is predicted above its threshold;
            of exclusive classes the one with the largest ratio to its threshold. Not set for costs of more than two
            classes.
    Shapes: Scores `(n, ..., C)`, or `(n,)` for one column. `transform` returns scores of the same kind, whose arg max
        is the decision (for labels: whether a logit is above 0, or a probability above 1/2); for costs of more than
        two classes it returns the negated expected costs. `predict` returns class indices `(n, ...)`; for labels 0 or
        1, `(n, ..., C)`.
    Raises:
        ArgumentError: If the criterion is unknown or not a valid matrix of costs.
        DataError: In `fit`, if a class has no sample, or every sample.
    Source: Youden 1950, "Index for rating diagnostic tests"; costs of more than two classes: Elkan 2001, eq. 1.

    >>> cut = Thresholds("youden", from_logits=False).fit([0.1, 0.2, 0.3, 0.3, 0.4], [0, 0, 0, 1, 1])
    >>> cut.thresholds_.round(3).tolist(), cut.predict([0.2, 0.3]).tolist()
    ([0.247], [0, 1])
    >>> Thresholds([[0, 1], [9, 0]], from_logits=False).fit([0.1, 0.3, 0.2, 0.6], [0, 0, 1, 1]).predict([0.25]).tolist()
    [1]
    """

    def __init__(
        self, criterion: str | ArrayLike = "youden", *, multi_label: bool = False, from_logits: bool = REQUIRED
    ) -> None:
        super().__init__(from_logits=from_logits)
        self.criterion, self.multi_label = criterion, multi_label
        self._costs()

    @property
    def link(self) -> str:
        return "sigmoid" if self.multi_label or getattr(self, "single_", False) else "softmax"

    def fit(self, scores: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Find the thresholds on validation data.

        Args:
            scores: Scores `(n, C)`, or `(n,)` for one column.
            y: Class indices `(n,)` or one-hot rows; for labels rows of 0 and 1.
            sample_weight: Weights `(n,)`, or None.
        """
        columns = np.asarray(scores, dtype=np.float64)
        self.single_ = columns.ndim == 1 or columns.shape[-1] == 1
        costs = self._costs()
        if self.link == "sigmoid":
            columns = self.logits(scores)
            own = np.asarray(y, dtype=np.float64).reshape(len(columns), -1)
            if own.shape != columns.shape or not np.isin(own, (0, 1)).all():
                raise DataError(
                    f"labels of shape {np.shape(y)} for scores of shape {columns.shape}",
                    expected="0 or 1 for each label of each sample",
                    fix="omit multi_label if each sample has exactly one class",
                )
            weights = checked_weights(sample_weight, len(columns))
        else:
            logits, codes, weights = self.validation(scores, y, sample_weight)
            own, columns = np.eye(logits.shape[1])[codes], _log_odds(logits)
        sides = 2 if columns.shape[1] <= 2 or self.link == "sigmoid" else columns.shape[1]
        if costs is not None and len(costs) != sides:
            raise ArgumentError(
                f"costs of {len(costs)} classes for scores of shape {columns.shape}",
                expected=f"a {sides} x {sides} matrix",
                fix="pass one row per true class and one column per predicted class",
            )
        self.classes_ = columns.shape[1]
        if sides > 2 and costs is not None:
            return self
        if self.link == "softmax" and sides == 2:
            cut = _best_cut(columns[:, 1], own[:, 1], weights, self.criterion, 1)
            self.cuts_ = np.array([-cut, cut])
        else:
            cuts = [
                _best_cut(columns[:, code], own[:, code], weights, self.criterion, code)
                for code in range(self.classes_)
            ]
            self.cuts_ = np.array(cuts)
        self.thresholds_ = expit(self.cuts_)
        return self

    def coefficients(self) -> tuple[Floats, Floats]:
        cuts = self._fitted("cuts_")
        return np.ones(len(cuts)), -cuts if self.link == "sigmoid" else -log_expit(cuts)

    def logits(self, scores: ArrayLike, classes: int | None = None) -> Floats:
        array = np.asarray(scores, dtype=np.float64)
        return super().logits(array[:, None] if array.ndim == 1 and self.link == "sigmoid" else array, classes)

    def transform(self, scores: ArrayLike) -> Floats:
        if self._uses_expected_cost():
            logits = self.logits(scores, self._fitted("classes_"))
            costs: Floats = -np.exp(log_softmax(logits, axis=-1)) @ self._costs()
            return costs
        return super().transform(scores).reshape(np.shape(scores))

    def predict(self, scores: ArrayLike) -> NDArray[np.int64]:
        if self.link == "softmax":
            return super().predict(scores)
        return (self.transform(scores) > (0 if self.from_logits else 0.5)).astype(np.int64)

    def as_layer(self, name: str | None = None) -> keras.layers.Layer:
        if self._uses_expected_cost():
            self._fitted("classes_")
            return ExpectedCost(self.criterion, from_logits=self.from_logits, name=name)
        return super().as_layer(name)

    def _uses_expected_cost(self) -> bool:
        costs = self._costs()
        return costs is not None and len(costs) > 2

    def _costs(self) -> Floats | None:
        if isinstance(self.criterion, str) and self.criterion in _CRITERIA:
            return None
        costs: Floats = np.empty(0) if isinstance(self.criterion, str) else np.asarray(self.criterion, np.float64)
        if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or len(costs) < 2 or not np.isfinite(costs).all():
            raise ArgumentError(
                f"criterion={self.criterion!r}",
                expected=f"{', '.join(map(repr, _CRITERIA))}, or a C x C matrix of finite costs",
                fix="pass one of the names, or a matrix with one row per true class and one column per predicted class",
            )
        return costs


def _best_cut(scores: Floats, own: Floats, weights: Floats, criterion: Any, code: int) -> float:
    """Return the cut with the best value of the criterion; of equal ones the highest."""
    scores, own, weights = scores[weights > 0], own[weights > 0], weights[weights > 0]
    unique, group = np.unique(-scores, return_inverse=True)  # in descending order of the scores
    hits = np.concatenate([[0.0], np.cumsum(np.bincount(group, weights * own))])
    false_alarms = np.concatenate([[0.0], np.cumsum(np.bincount(group, weights * (1 - own)))])
    size, rest = hits[-1], false_alarms[-1]
    if size == 0 or rest == 0:
        raise DataError(
            f"validation data in which {'no' if size == 0 else 'every'} sample is of class {code}",
            expected="samples of this class and of others",
            fix="pass more validation data",
        )
    recall, specificity = hits / size, 1 - false_alarms / rest
    if isinstance(criterion, str):
        values = {
            "youden": recall + specificity,
            "gmean": np.sqrt(recall * np.maximum(specificity, 0)),
            "f1": 2 * hits / (hits + false_alarms + size),
        }[criterion]
    else:
        (rejection, false_alarm), (miss, hit) = np.asarray(criterion, dtype=np.float64)
        costs = rejection * (rest - false_alarms) + false_alarm * false_alarms + miss * (size - hits) + hit * hits
        values = -costs / max(1.0, float(np.abs(costs).max()))
    best = int(np.argmax(values >= values.max() - 1e-12))
    # Beyond the first and the last score there is no next score: place the cut at a distance of 1/2.
    edges = np.concatenate([[-unique[0] + 1], -unique, [-unique[-1] - 1]])
    return float((edges[best] + edges[best + 1]) / 2)


def _log_odds(logits: Floats) -> Floats:
    """Return `log(p / (1 - p))` of each class; the other classes are summed without it, so that no p rounds to 1."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    others = np.exp(shifted) @ (1 - np.eye(logits.shape[1]))
    log_odds: Floats = shifted - np.log(np.maximum(others, np.finfo(np.float64).tiny))
    return log_odds
