"""Label quality by confident learning: how far a label can be trusted, given predictions for the sample.

Concepts:
- *out-of-fold probabilities*: row i comes from a model trained without sample i (cross-validation). Predictions for
  training samples are useless here: the model may have memorised the labels, wrong ones included.
- *threshold* t_j: the mean probability of class j over the samples labelled j. Models are less confident about rare
  classes, so each class is compared with its own mean.
- *confident joint*: a matrix that counts samples by their label and by their *confident* class, the most probable of
  the classes whose probability reaches its threshold. Samples off the diagonal are likely mislabelled.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.arguments import checked_choice
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import checked_probabilities, encode_labels_of
from tailfit.weights.outputs import by_output

__all__ = ["confident_classes", "label_quality"]

Method = Literal["self_confidence", "normalized_margin", "confident_joint"]
Floats = NDArray[np.float64]
_MARGIN = 1e-6  # the mean of equal numbers may be rounded up; the authors' code has the same margin


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
    """Compute a quality in [0, 1] for the label of each sample; the lower, the more likely the label is wrong.

    The result can be used as a sample weight directly.

    Args:
        y: Class indices `[n]`, strings (indexed in sorted order), one-hot rows, a source or Batches of one. For a model
            with several outputs: a dict of these by output, with a dict of probabilities.
        probabilities: Predicted probabilities of the C classes for each sample, out-of-fold: from a model trained
            without that sample.
        method: `"self_confidence"`: the probability of the label. `"normalized_margin"`: (1 + the probability of the
            label minus the largest probability of another class) / 2. `"confident_joint"`: 0 where the confident class
            differs from the label, else 1; the labels of quality 0 are those that the paper prunes.
        adjusted: Whether to shift the probabilities of each class such that all classes have the same threshold.
            Otherwise all samples of a rare class, about which the model is never confident, get a low quality. A class
            without samples has the highest threshold. Not for `"confident_joint"`, which uses the thresholds itself.
        class_names: Names of the classes in the order of the columns, where `y` are strings.
    Shapes: `probabilities` is `[n, C]` in [0, 1], rows summing to one; the result is `float32[n]`, dimensionless.
    Raises:
        ArgumentError: If the method is unknown, or `adjusted` is set for `"confident_joint"`.
        DataError: If the probabilities are invalid, or the labels don't have exactly one class each.
    Source: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068: t_j is eq. 2, the confident joint eq. 1; pruning,
        self-confidence and normalized margin are in section 3.2; `adjusted` is as in `cleanlab`. Where several classes
        are confident, `cleanlab` takes the most probable of all classes, eq. 1 the most probable confident one.

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
    checked_choice(method, "method", get_args(Method))
    if not isinstance(adjusted, bool) or (adjusted and method == "confident_joint"):
        raise ArgumentError(
            f"adjusted={adjusted!r} for method={method!r}",
            expected="True or False; only False for 'confident_joint', which uses the thresholds itself",
            fix="omit adjusted",
        )
    rows = checked_probabilities(probabilities)
    codes = _codes(y, rows, class_names)
    own = rows[np.arange(len(rows)), codes]
    if method == "confident_joint":
        return np.where(_confident(codes, rows) != codes, np.float32(0), np.float32(1))
    if adjusted:
        thresholds = _thresholds(codes, own, rows.shape[1])
        rows = rows - thresholds + thresholds.max()
        rows /= rows.sum(axis=1, keepdims=True)
        own = rows[np.arange(len(rows)), codes]
    if method == "self_confidence":
        return own.astype(np.float32)
    others = rows.copy()
    others[np.arange(len(rows)), codes] = -np.inf
    margin: NDArray[np.float32] = ((1 + own - others.max(axis=1)) / 2).astype(np.float32)
    return margin


def confident_classes(y: Any, probabilities: ArrayLike, class_names: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return the confident class of each sample, which differs from its label if the label is probably wrong.

    Args:
        y, probabilities, class_names: See `label_quality`.
    Shapes: `int64[n]`, class indices; the index of the label where no class is confident.

    >>> confident_classes([0, 1, 1], [[0.9, 0.1], [0.25, 0.75], [0.92, 0.08]]).tolist()
    [0, 1, 0]
    """
    rows = checked_probabilities(probabilities)
    return _confident(_codes(y, rows, class_names), rows)


def _thresholds(codes: NDArray[np.int64], own: Floats, classes: int) -> Floats:
    """Return the mean probability of each class over the samples with its label; the highest mean for empty classes."""
    counts = np.bincount(codes, minlength=classes)
    means: Floats = np.bincount(codes, own, minlength=classes) / np.maximum(counts, 1)
    return np.where(counts > 0, means, means.max())


def _confident(codes: NDArray[np.int64], rows: Floats) -> NDArray[np.int64]:
    """Return the confident class of each sample; the class of its label if it has none."""
    thresholds = _thresholds(codes, rows[np.arange(len(rows)), codes], rows.shape[1])
    confident = np.where(rows >= thresholds - _MARGIN, rows, -1.0)
    return np.where(confident.max(axis=1) >= 0, confident.argmax(axis=1), codes)


def _codes(y: Any, rows: Floats, class_names: Sequence[str] | None) -> NDArray[np.int64]:
    try:
        encoded = encode_labels_of(y, class_names=class_names, num_classes=rows.shape[1])
    except DataError as error:
        fix = f"{error.fix}; the probabilities have {rows.shape[1]} columns"
        raise DataError(error.received, expected=error.expected, fix=fix) from None
    if encoded.kind != "codes" or len(encoded.values) != len(rows):
        raise DataError(
            f"{len(encoded.values)} labels of kind {encoded.kind!r} and {len(rows)} rows of probabilities",
            expected="one class and one row of probabilities per sample",
            fix="pass the same samples to both; for multi-label data, pass each label on its own: y[:, j] and "
            "[1 - p[:, j], p[:, j]]",
        )
    codes: NDArray[np.int64] = encoded.values
    return codes
