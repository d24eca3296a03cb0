"""How far each label can be trusted, from what a model that never saw the sample says of it (confident learning).

Concepts:
- *out-of-fold probabilities*: row i comes from a model trained without sample i (cross-validation). Probabilities of
  training samples say what the model has learned by heart, wrong labels included.
- *threshold* t_j: the mean probability of class j over the samples labelled j. A model is less sure of rare classes,
  so each class is held against its own mean.
- *confident joint*: the count of samples by label and by the class they *confidently* are of: the most probable of
  those classes whose probability reaches its threshold. Off its diagonal stand the labels that are likely wrong.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import checked_probabilities
from tailfit.weights.classes import checked_choice
from tailfit.weights.given import by_output, encoded_labels

__all__ = ["label_quality"]

Method = Literal["self_confidence", "normalized_margin", "confident_joint"]
Floats = NDArray[np.float64]
_MARGIN = 1e-6  # the mean of equal numbers may round above them; the authors' code allows as much


@overload
def label_quality(
    y: Mapping[str, Any],
    probabilities: Mapping[str, ArrayLike],
    method: Method = "self_confidence",
    *,
    adjusted: bool = False,
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, NDArray[np.float32]]: ...


@overload
def label_quality(
    y: Any,
    probabilities: ArrayLike,
    method: Method = "self_confidence",
    *,
    adjusted: bool = False,
    class_names: Sequence[str] | None = None,
) -> NDArray[np.float32]: ...


def label_quality(
    y: Any,
    probabilities: Any,
    method: Method = "self_confidence",
    *,
    adjusted: bool = False,
    class_names: Any = None,
) -> Any:
    """A trust in [0, 1] for each sample's label, the lower the likelier it is wrong; a sample weight as it is.

    Args:
        y: Class codes `[n]`, strings (coded by their sorted order), one-hot rows, a source or Batches of one; or, of a
            model with several outputs, a dict of them by output, beside a dict of probabilities.
        probabilities: Of the C classes for each sample, out-of-fold: from a model trained without that sample.
        method: `"self_confidence"`: the probability of the label. `"normalized_margin"`: (1 + the probability of the
            label minus the largest other one) / 2. `"confident_joint"`: 0 where the confident joint counts the
            sample under another class than its label, else 1; these are the labels that the paper prunes.
        adjusted: First bring the classes' thresholds to one level, so that samples of a rare class, of which the model
            is never sure, do not all weigh little. Class without a sample: the highest threshold.
            Not for `"confident_joint"`, which holds each class against its threshold anyway.
        class_names: Names of the classes in the order of the columns, where `y` are strings.
    Shapes: `probabilities` `[n, C]` in [0, 1], rows summing to one; the result `float32[n]`, without unit.
    Raises:
        ArgumentError: for an unknown method, or `adjusted` beside `"confident_joint"`.
        DataError: for probabilities that are none, or labels that have not one class each.
    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068: t_j is eq. 2, the confident joint eq. 1, its use for
        pruning, self-confidence and normalized margin section 3.2; `adjusted` as in `cleanlab`. `cleanlab` takes the
        most probable of all classes, not of the confident ones, where several are confident: eq. 1 does not.

    >>> label_quality([0, 1, 1], [[0.9, 0.1], [0.25, 0.75], [0.875, 0.125]]).tolist()
    [0.8999999761581421, 0.75, 0.125]
    >>> label_quality([0, 1, 1], [[0.9, 0.1], [0.25, 0.75], [0.92, 0.08]], "confident_joint").tolist()
    [1.0, 1.0, 0.0]
    """
    if isinstance(y, Mapping):
        return by_output(
            lambda labels, rows, names: label_quality(labels, rows, method, adjusted=adjusted, class_names=names),
            y,
            probabilities=probabilities,
            class_names=class_names,
        )
    checked_choice("method", method, get_args(Method))
    if not isinstance(adjusted, bool) or (adjusted and method == "confident_joint"):
        raise ArgumentError(
            f"adjusted={adjusted!r} for method={method!r}",
            expected="True or False; for 'confident_joint' only False, as it compares with the thresholds itself",
            fix="leave adjusted out",
        )
    rows = checked_probabilities(probabilities)
    codes = _codes(y, rows, class_names)
    own = rows[np.arange(len(rows)), codes]
    if adjusted or method == "confident_joint":
        thresholds = _thresholds(codes, own, rows.shape[1])
    if method == "confident_joint":
        return _on_the_diagonal(codes, rows, thresholds)
    if adjusted:
        rows = rows - thresholds + thresholds.max()
        rows /= rows.sum(axis=1, keepdims=True)
        own = rows[np.arange(len(rows)), codes]
    if method == "self_confidence":
        return own.astype(np.float32)
    others = rows.copy()
    others[np.arange(len(rows)), codes] = -np.inf
    margin: NDArray[np.float32] = ((1 + own - others.max(axis=1)) / 2).astype(np.float32)
    return margin


def _thresholds(codes: NDArray[np.int64], own: Floats, classes: int) -> Floats:
    """The mean of each class's probability over the samples labelled so; the highest where there are none."""
    counts = np.bincount(codes, minlength=classes)
    means: Floats = np.bincount(codes, own, minlength=classes) / np.maximum(counts, 1)
    return np.where(counts > 0, means, means.max())


def _on_the_diagonal(codes: NDArray[np.int64], rows: Floats, thresholds: Floats) -> NDArray[np.float32]:
    confident = np.where(rows >= thresholds - _MARGIN, rows, -1.0)
    found = confident.argmax(axis=1)
    wrong = (confident.max(axis=1) >= 0) & (found != codes)
    return np.where(wrong, np.float32(0), np.float32(1))


def _codes(y: Any, rows: Floats, class_names: Sequence[str] | None) -> NDArray[np.int64]:
    try:
        encoded = encoded_labels(y, class_names=class_names, num_classes=rows.shape[1])
    except DataError as error:
        fix = f"{error.fix}; the probabilities have {rows.shape[1]} columns"
        raise DataError(error.received, expected=error.expected, fix=fix) from None
    if encoded.kind != "codes" or len(encoded.values) != len(rows):
        raise DataError(
            f"{len(encoded.values)} labels of kind {encoded.kind!r} beside {len(rows)} rows of probabilities",
            expected="one class a sample, and a row of probabilities for each",
            fix="of a multi-label problem, weigh each label by itself: y[:, j] and [1 - p[:, j], p[:, j]]",
        )
    codes: NDArray[np.int64] = encoded.values
    return codes
