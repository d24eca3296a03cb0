"""Updates of metrics with NumPy, for torch on a CPU: a call of NumPy takes a fraction of that of an operator.

torch runs a step operator by operator, and an update has about twenty. NumPy shares the memory of tensors on a CPU and
changes the variables there, and a recorded step repeats the whole update as one call. The updates make few calls of
NumPy: for a small batch, the calls take longer than the arithmetic.

The updates take tensors: the variables, then labels `(batch, ...)`, `(batch, ..., 1)` or dense, scores
`(batch, ..., C)`, and weights `(batch, ...)` or None.
"""

import sys
from functools import cache
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.keras_private import in_stateless_scope, in_symbolic_scope
from tailfit.targets import Tensor

__all__ = ["add_confusion", "add_gaps", "add_scores", "changes_in_place", "shares_memory"]

Floats = NDArray[np.floating[Any]]
_HIGHEST = np.float32(1.001)  # probability: those of float16 may exceed 1 slightly
_UNSIGNED = {np.dtype(np.int32): np.uint32, np.dtype(np.int64): np.uint64}


def changes_in_place() -> bool:
    """Return whether in-place methods of torch tensors change variables now."""
    return keras.backend.backend() == "torch" and not (in_stateless_scope() or in_symbolic_scope())


def shares_memory(variable: keras.Variable) -> bool:
    """Return whether NumPy can change a variable in place now: on a CPU, outside `torch.compile`."""
    if not changes_in_place() or variable.value.device.type != "cpu":
        return False
    return not sys.modules["torch"].compiler.is_compiling()


def add_confusion(sums: Tensor, rests: Tensor, labels: Tensor, scores: Tensor, weight: Tensor | None) -> None:
    """Add the hits, misses and false alarms of a batch to the sums `(3, C)` of a `SumMetric`."""
    truth, values, weights, valid = _batch(labels, scores, weight)
    predicted = values.argmax(-1)
    wrong = predicted != truth
    rounded, rest = sums.numpy(), rests.numpy()
    total = _total(rounded, rest)
    # A sample is in one cell of (3, C) if its prediction is correct, else in two.
    np.add.at(total.reshape(-1), truth + total.shape[1] * wrong, 1.0 if weights is None else weights)
    np.add.at(total[2], predicted[wrong], 1.0 if weights is None else weights[wrong])
    _store(total, rounded, rest, valid)


def add_gaps(
    sums: Tensor, rests: Tensor, labels: Tensor, scores: Tensor, weight: Tensor | None, from_logits: bool
) -> None:
    """Add the samples of a batch, and their gaps between correctness and confidence, to the sums `(2, bins)`."""
    truth, values, weights, valid = _batch(labels, scores, weight)
    values = values.astype(np.float32, copy=False)
    confidence = np.maximum.reduce(values, -1)
    if from_logits:
        with np.errstate(invalid="ignore"):  # the difference of two infinite scores is NaN
            confidence = 1 / np.add.reduce(np.exp(values - confidence[:, None]), -1)
    # Sum the gap itself: the difference of two much larger sums would have few correct digits.
    gap = (values.argmax(-1) == truth) - confidence.astype(np.float64)
    low, high = np.minimum.reduce(confidence, initial=0), np.maximum.reduce(confidence, initial=0)
    if not (low == 0 and high <= _HIGHEST):  # NaN is not equal to 0
        possible = (confidence >= 0) & (confidence <= _HIGHEST)
        valid = valid and _all_ignored(~possible, weights)
        gap[~possible] = 0
    rounded, rest = sums.numpy(), rests.numpy()
    total = _total(rounded, rest)
    number = np.searchsorted(_edges(total.shape[1]), confidence)
    np.add.at(total[0], number, 1.0 if weights is None else weights)
    np.add.at(total[1], number, gap if weights is None else gap * weights)
    _store(total, rounded, rest, valid)


def add_scores(
    stored_scores: Tensor,
    stored_labels: Tensor,
    stored_weights: Tensor,
    kept: Tensor,
    invalid: Tensor,
    labels: Tensor,
    scores: Tensor,
    weight: Tensor | None,
    multi_label: bool,
) -> None:
    """Store the samples of a batch that have a weight in the rows from `kept` on, as far as there is room."""
    batch = _labelled(labels, scores, weight) if multi_label else _batch(labels, scores, weight)
    truth, values, weights = batch.truth, batch.scores, batch.weight
    if weights is not None:
        truth, values, weights = truth[weights != 0], values[weights != 0], weights[weights != 0]
    capacity = len(stored_scores) - 1
    begin = int(kept)
    rows = slice(begin, max(begin, min(begin + len(values), capacity)))
    room = rows.stop - begin
    stored_scores.numpy()[rows] = values[:room]
    stored_weights.numpy()[rows] = 1 if weights is None else weights[:room]
    own = stored_labels.numpy()[rows]
    if multi_label:
        own[...] = truth[:room]
    else:
        own[...] = 0
        own[np.arange(room), truth[:room]] = 1
    kept.numpy()[...] = min(begin + len(values), capacity + 1)  # capacity + 1 marks an excess
    if not batch.valid:
        invalid.numpy()[...] = 1


class _Batch(NamedTuple):
    truth: NDArray[Any]  # class indices in [0, C), `(n,)`; or rows of 0 and 1, `(n, C)`
    scores: Floats  # (n, C)
    weight: NDArray[np.float64] | None  # (n,)
    valid: bool  # whether each label is the one passed, or has weight 0


def _batch(labels: Tensor, scores: Tensor, weight: Tensor | None) -> _Batch:
    """Return a batch with exclusive classes."""
    given, values = labels.numpy(), scores.numpy()
    classes = values.shape[-1]
    dense = given.shape == values.shape
    if values.ndim > 2:
        values = values.reshape(-1, classes)
    weights = None if weight is None else _flat(weight)
    if dense:
        return _Batch(given.astype(np.float32).argmax(-1).reshape(-1), values, weights, True)
    if given.ndim > 1:
        given = given.reshape(-1)
    # Read as unsigned numbers, negative ones are large: one comparison checks both ends.
    unsigned = _UNSIGNED.get(given.dtype)
    if unsigned is not None and np.maximum.reduce(given.view(unsigned), initial=0) < classes:
        return _Batch(given, values, weights, True)
    wrong = ~((given >= 0) & (given < classes) & (given == np.floor(given)))  # true for NaN
    truth = np.where(wrong, 0, given).astype(np.intp)
    return _Batch(truth, values, weights, not wrong.any() or _all_ignored(wrong, weights))


def _labelled(labels: Tensor, scores: Tensor, weight: Tensor | None) -> _Batch:
    """Return a batch with independent labels, in rows of 0 and 1."""
    values, weights = scores.numpy(), None if weight is None else _flat(weight)
    rows = labels.numpy().reshape(-1, values.shape[-1])
    odd = ((rows != 0) & (rows != 1)).any(-1)
    return _Batch(rows, values.reshape(rows.shape), weights, not odd.any() or _all_ignored(odd, weights))


def _flat(weight: Tensor) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = weight.numpy().reshape(-1).astype(np.float64)
    return flat


def _all_ignored(samples: NDArray[np.bool_], weight: Floats | None) -> bool:
    """Return whether samples have weight 0."""
    return weight is not None and not weight[samples].any()


@cache
def _edges(bins: int) -> Floats:
    return (np.arange(1, bins) / bins).astype(np.float32)


def _total(rounded: Floats, rest: Floats) -> NDArray[np.float64]:
    """Return the sums of a `SumMetric` in float64, whose 53 bits hold their two floats."""
    total = rounded.astype(np.float64)
    total += rest
    return total


def _store(total: NDArray[np.float64], rounded: Floats, rest: Floats, valid: bool) -> None:
    """Store the sums in two floats each, or NaN in all of them unless the batch is valid."""
    if not valid:
        total.fill(np.nan)
    rounded[...] = total
    total -= rounded
    rest[...] = total
