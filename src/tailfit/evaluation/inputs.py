"""Checks of what `evaluate` is given: labels, scores, training counts and options."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.metrics import Codes
from tailfit.labels import encode_codes

__all__ = ["MOST_RESAMPLES", "check_confidence", "check_options", "checked_train_counts", "class_indices"]

MOST_RESAMPLES = 100_000  # memory grows with their number, which a file can request


def check_options(name: str, confidence: float, resamples: int, seed: int) -> None:
    """Check the options of an evaluation.

    Raises:
        ArgumentError: If an option has another type or is out of range.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"name={name!r}", expected="a string", fix="pass name='model', for example")
    check_confidence(confidence)
    whole_number("resamples", resamples, least=math.ceil(2 / (1 - confidence)), most=MOST_RESAMPLES)
    whole_number("seed", seed)


def check_confidence(confidence: float) -> None:
    """Check a confidence level; more than the upper bound would need more than `MOST_RESAMPLES` resamples.

    Raises:
        ArgumentError: If it is not a number, or out of range.
    """
    number = isinstance(confidence, int | float | np.floating) and not isinstance(confidence, bool)
    most = 1 - 2 / MOST_RESAMPLES
    if not number or not 0 < confidence <= most:
        raise ArgumentError(
            f"confidence={confidence!r}",
            expected=f"a number > 0 and <= {most:g}",
            fix="pass 0.95 for 95 % intervals",
        )


def checked_train_counts(counts: Any, num_classes: int) -> tuple[float, ...] | None:
    """Return training counts as a tuple of floats; None stays None.

    Raises:
        ArgumentError: If there is not one finite count >= 0 for each class.
    """
    if counts is None:
        return None
    try:
        array = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(
            f"train_counts={counts!r:.60}",
            expected="one number for each class, in the order of class_names",
            fix="pass source.class_counts of the training source",
        ) from error
    if array.shape != (num_classes,):
        raise ArgumentError(
            f"train_counts of shape {array.shape} for {num_classes} classes",
            expected="one count for each class, in the order of class_names",
            fix="pass source.class_counts of the training source",
        )
    valid = np.isfinite(array) & (array >= 0)
    if not valid.all():
        k = int(np.argmin(valid))
        raise ArgumentError(
            f"train_counts whose entry {k} is {array[k]}",
            expected="finite numbers of samples >= 0",
            fix="count the training labels, e.g. numpy.bincount(y, minlength=C)",
        )
    return tuple(array.tolist())


def class_indices(y_true: Any, y_score: Any, class_names: Sequence[str] | None) -> tuple[Codes, Codes, tuple[str, ...]]:
    """Return the class indices of labels and of predictions, and the class names.

    Args:
        y_true: Labels, see `evaluate`.
        y_score: Scores or predicted labels, see `evaluate`.
        class_names: Names in the order of the class indices, or None.
    Raises:
        DataError: If labels and scores do not fit each other or a score is NaN.

    >>> class_indices(["ok", "leak"], [[0.2, 0.8], [0.9, 0.1]], None)
    (array([1, 0]), array([1, 0]), ('leak', 'ok'))
    """
    scores = _as_array(y_score)
    if scores.ndim == 2 and scores.shape[1] > 1:
        return _largest_scores(y_true, scores, class_names)
    if scores.dtype.kind == "f" and not np.all(scores == np.floor(scores)) and not np.isnan(scores).any():
        raise DataError(
            f"y_score of shape {scores.shape} with fractions",
            expected="scores of shape [n, classes], or predicted class indices of shape [n]",
            fix="for one sigmoid output p, pass numpy.stack([1 - p, p], axis=1)",
        )
    true = encode_codes(y_true, class_names=class_names, what="y_true")
    if class_names is None and _is_text(scores):
        if not _is_text(np.asarray(y_true)):
            raise DataError(
                "y_true with class indices and y_score with class names",
                expected="class indices in both, class names in both, or class_names",
                fix="pass class_names in the order of the class indices",
            )
        # A class may occur in only one of the two.
        class_names = sorted({*map(str, np.ravel(np.asarray(y_true))), *map(str, scores.ravel())})
        true = encode_codes(y_true, class_names=class_names, what="y_true")
    named = class_names is not None or _is_text(np.asarray(y_true)) or np.ndim(y_true) == 2
    predicted = encode_codes(
        y_score, class_names=true.class_names if named else None, what="y_score (predicted classes)"
    )
    _check_rows(true.values, predicted.values)
    return true.values, predicted.values, max(true.class_names, predicted.class_names, key=len)


def _as_array(y_score: Any) -> NDArray[Any]:
    try:
        scores = np.asarray(y_score)
    except ValueError:  # rows of unequal length
        scores = np.empty(0, dtype=object)
    if scores.ndim == 0 or (scores.dtype == object and not _is_text(scores)):
        raise DataError(
            f"y_score of type {type(y_score).__name__}, which is not an array of numbers or names",
            expected="scores of shape [n, classes], or predicted class indices or names of shape [n]",
            fix="pass the result of model.predict",
        )
    # Kind "V" is bfloat16 and similar types, which NumPy itself cannot compare.
    return scores.astype(np.float32) if scores.dtype.kind == "V" else scores


def _largest_scores(
    y_true: Any, scores: NDArray[Any], class_names: Sequence[str] | None
) -> tuple[Codes, Codes, tuple[str, ...]]:
    if scores.dtype.kind not in "fiub":
        raise DataError(
            f"y_score of shape {scores.shape} and type {scores.dtype}",
            expected="numbers, one column for each class",
            fix="pass the result of model.predict",
        )
    true = encode_codes(y_true, class_names=class_names, num_classes=scores.shape[1], what="y_true")
    _check_rows(true.values, scores)
    missing = np.isnan(scores).any(axis=1) if scores.dtype.kind == "f" else np.zeros(len(scores), bool)
    if missing.any():
        raise DataError(
            f"y_score whose row {int(np.argmax(missing))} has NaN",
            expected="a score for every class",
            fix="check whether training diverged, or drop the row from both y_true and y_score",
        )
    return true.values, scores.argmax(axis=1).astype(np.int64), true.class_names


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "UT" or (array.dtype == object and array.size > 0 and isinstance(array.flat[0], str))


def _check_rows(y_true: NDArray[Any], scores: NDArray[Any]) -> None:
    if len(y_true) != len(scores):
        raise DataError(
            f"{len(y_true)} labels and {len(scores)} rows of scores",
            expected="one row of scores for each label",
            fix="predict on exactly the samples whose labels are passed",
        )
    if len(y_true) == 0:
        raise DataError("no samples", expected="at least one sample", fix="check that the test part is not empty")
