"""Class weights from class sizes.

Concepts:
- *scheme*: how a class's raw weight follows from its size n, of N samples in C classes.
- *normalize*: what the raw weights are scaled to. `"mean"`: the weights of the samples have mean one, so that
  the loss and the learning rate keep their scale; `"sum"`: the weights of the classes sum to C; None: raw.
- *multi-label*: each label is a two-class problem of its own, present or absent; a label's weight is that of
  the present side, normalised with the absent one. A count is the number of samples that have the label.
- *soft labels*: the expected counts, the sum of each class's probability.
"""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded
from tailfit.weights.given import by_output, encoded_labels

__all__ = ["checked_choice", "class_weights"]

_MOST_CLASSES = 1 << 24  # each asks for memory, with or without a sample

Scheme = Literal["balanced", "inverse", "inverse_sqrt", "effective_number", "median_frequency"]
Counts = NDArray[np.float64]


@overload
def class_weights(
    y: Mapping[str, Any],
    scheme: Scheme = "balanced",
    *,
    beta: float = 0.9999,
    normalize: Literal["mean", "sum"] | None = "mean",
    num_classes: Mapping[str, int] | None = None,
) -> dict[str, dict[int, float]]: ...


@overload
def class_weights(
    y: Any,
    scheme: Scheme = "balanced",
    *,
    beta: float = 0.9999,
    normalize: Literal["mean", "sum"] | None = "mean",
    num_classes: int | None = None,
) -> dict[int, float]: ...


def class_weights(
    y: Any,
    scheme: Scheme = "balanced",
    *,
    beta: float = 0.9999,
    normalize: Literal["mean", "sum"] | None = "mean",
    num_classes: Any = None,
) -> Any:
    """A weight for each class, the larger the rarer; what Keras' `class_weight=` and `Batches` take.

    Args:
        y: Codes `[n]`, strings (coded by their sorted order), one-hot, soft or multi-label rows `[n, C]`, a
            source, or Batches, whose source is weighed as it is stored, not as it is sampled; or, of a model with
            several outputs, a dict of them by output, for a dict of weights (`num_classes` then is a dict, too).
        scheme: `"balanced"` N / (C·n); `"inverse"` 1 / n; `"inverse_sqrt"` 1 / √n; `"effective_number"`
            (1 − β) / (1 − β**n); `"median_frequency"` median(n) / n. The first, second and last differ only
            in scale, that is, with `normalize=None`.
        beta: β of `"effective_number"`, 0 <= β < 1: 0 gives equal weights, towards 1 the inverse ones.
        normalize: `"mean"`: Σ_i w[y_i] / N = 1; `"sum"`: Σ_c w[c] = C; None: as the scheme gives them. For
            multi-label y per label, over its present and absent sides (C = 2): `"balanced"` is N / (2·n).
        num_classes: C. It names classes without a sample on purpose. Such a class weighs as if it had one
            sample, the most that the scheme gives any class; it counts in no mean and no median.
    Shapes: weights are ratios without unit, float64.
    Raises:
        ArgumentError: for an unknown scheme or normalization, or a beta out of range.
        DataError: for a class without a sample that `num_classes` doesn't name, or labels not in order.
    Source: "effective_number": Cui et al. 2019, arXiv:1901.05555, eq. 2; "median_frequency": Eigen and Fergus
        2015, arXiv:1411.4734, section 4.3.

    >>> class_weights(["ok", "ok", "ok", "leak"])
    {0: 2.0, 1: 0.6666666666666666}
    """
    if isinstance(y, Mapping):
        return by_output(
            lambda labels, number: class_weights(labels, scheme, beta=beta, normalize=normalize, num_classes=number),
            y,
            num_classes=num_classes,
        )
    checked_choice("scheme", scheme, get_args(Scheme))
    checked_choice("normalize", normalize, ("mean", "sum", None))
    beta = _checked_beta(beta)
    encoded = encoded_labels(y, num_classes=_checked_number(num_classes))
    counts = encoded.class_counts
    _refuse_empty_classes(encoded, counts, named=num_classes is not None)
    total = float(len(encoded.values))
    raw = _scheme(scheme, beta, total)
    of_problem = _of_labels if encoded.kind == "multi-label" else _of_classes
    # Balanced weights have mean one as they are: not scaled again, they are N / (C * n) to the last bit.
    weights = of_problem(raw, counts, total, normalize, scaled=scheme == "balanced")
    return dict(enumerate(weights.tolist()))


def _scheme(scheme: Scheme, beta: float, total: float) -> Callable[[Counts], Counts]:
    """Raw weights of the classes of one problem, from their counts; those counting 0 weigh as if counting 1."""

    def at_least(counts: Counts) -> Counts:
        return np.where(counts > 0, counts, 1.0)

    def balanced(counts: Counts) -> Counts:
        return total / (np.count_nonzero(counts) * at_least(counts))

    def effective_number(counts: Counts) -> Counts:
        if beta == 0:
            return np.ones_like(counts)
        # 1 - beta**n loses all digits where beta**n rounds to 1; expm1 keeps them.
        weights: Counts = (1 - beta) / -np.expm1(at_least(counts) * np.log(beta))
        return weights

    def median_frequency(counts: Counts) -> Counts:
        weights: Counts = np.median(counts[counts > 0]) / at_least(counts)
        return weights

    schemes: dict[str, Callable[[Counts], Counts]] = {
        "balanced": balanced,
        "inverse": lambda counts: 1 / at_least(counts),
        "inverse_sqrt": lambda counts: 1 / np.sqrt(at_least(counts)),
        "effective_number": effective_number,
        "median_frequency": median_frequency,
    }
    return schemes[scheme]


def _of_classes(
    raw: Callable[[Counts], Counts], counts: Counts, total: float, normalize: str | None, *, scaled: bool
) -> Counts:
    weights = raw(counts)
    if normalize is None or (normalize == "mean" and scaled):
        return weights
    scale = total / (counts @ weights) if normalize == "mean" else len(counts) / weights.sum()
    return weights * float(scale)


def _of_labels(
    raw: Callable[[Counts], Counts], counts: Counts, total: float, normalize: str | None, *, scaled: bool
) -> Counts:
    # A side without a sample counts as one: "balanced" is then N / (2 * n) for a label that all have, too.
    sides = np.maximum(np.stack([counts, total - counts], axis=1), 1.0)
    weights: Counts = np.array([raw(side) for side in sides])
    if normalize is None or (normalize == "mean" and scaled):
        return weights[:, 0].copy()
    scale: Counts = total / (sides * weights).sum(axis=1) if normalize == "mean" else 2 / weights.sum(axis=1)
    return weights[:, 0] * scale


def _refuse_empty_classes(encoded: Encoded, counts: Counts, *, named: bool) -> None:
    empty = np.flatnonzero(counts == 0)
    if len(empty) and not named:
        name = encoded.class_names[empty[0]]
        raise DataError(
            f"labels in which no sample has class {name!r} ({len(empty)} of {len(counts)} classes have none)",
            expected="at least one sample of each class",
            fix=f"drop the class, or pass num_classes={len(counts)} if it is meant to have none",
        )


def checked_choice(name: str, value: Any, choices: tuple[str | None, ...]) -> None:
    """Refuse a value that is none of the choices, suggesting the nearest."""
    if not (value is None or isinstance(value, str)) or value not in choices:
        near = get_close_matches(str(value), [choice for choice in choices if choice], n=1)
        raise ArgumentError(
            f"{name}={value!r}", expected=", ".join(map(repr, choices)), fix=f"pass {name}={(near or choices)[0]!r}"
        )


def _checked_beta(beta: Any) -> float:
    number = isinstance(beta, int | float | np.integer | np.floating) and not isinstance(beta, bool)
    if not (number and 0 <= beta < 1):
        raise ArgumentError(
            f"beta={beta!r}", expected="0 <= beta < 1", fix="use scheme='inverse', the limit of beta = 1"
        )
    return float(beta)


def _checked_number(num_classes: Any) -> int | None:
    whole = isinstance(num_classes, int | np.integer) and not isinstance(num_classes, bool)
    if num_classes is not None and not (whole and 1 <= num_classes <= _MOST_CLASSES):
        raise ArgumentError(
            f"num_classes={num_classes!r}",
            expected=f"a whole number from 1 to {_MOST_CLASSES}",
            fix="leave it out: the labels tell it",
        )
    return None if num_classes is None else int(num_classes)
