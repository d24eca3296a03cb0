"""Class weights from class sizes.

Concepts:
- *scheme*: the formula for the raw weight of a class of n samples, given N samples in C classes.
- *normalize*: the scale of the weights. `"mean"`: the weights of the samples have mean one, so that the loss keeps its
  scale and the learning rate its effect. `"sum"`: the weights of the classes sum to C. None: the raw weights.
- *multi-label*: each label is a two-class problem, present or absent. The weight of a label is the weight of the
  class "present", normalised together with "absent". Its count is the number of samples with the label.
- *soft labels*: counts are expected counts, the sum of the probabilities of each class.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import checked_choice, whole_number
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, encode_labels_of
from tailfit.weights.outputs import by_output

__all__ = ["class_weights"]

_MOST_CLASSES = 1 << 24  # every class takes memory, even without samples

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
    """Compute a weight for each class, larger for rarer classes, for `class_weight=` of Keras and of `Batches`.

    Args:
        y: Class indices `[n]`, strings (indexed in sorted order), one-hot, soft or multi-label rows `[n, C]`, a source,
            or Batches (the samples are counted as stored, not as sampled). For a model with several outputs: a dict of
            these by output. The result is then a dict of weights by output, and `num_classes` a dict, too.
        scheme: `"balanced"` N / (C·n); `"inverse"` 1 / n; `"inverse_sqrt"` 1 / √n; `"effective_number"`
            (1 − β) / (1 − β**n); `"median_frequency"` median(n) / n. The first, second and last differ only in scale,
            so they differ only with `normalize=None`.
        beta: β of `"effective_number"`, 0 <= β < 1. At 0 all weights are equal; towards 1 they approach `"inverse"`.
        normalize: `"mean"`: Σ_i w[y_i] / N = 1; `"sum"`: Σ_c w[c] = C; None: the raw weights of the scheme. Multi-label
            weights are normalised per label, over its classes present and absent (C = 2): `"balanced"` is N / (2·n).
        num_classes: C, which allows classes without samples. Such a class gets the weight of a class with one sample,
            the largest weight of the scheme; it does not count in means and medians.
    Shapes: weights are float64, dimensionless.
    Raises:
        ArgumentError: If the scheme or the normalization is unknown, or beta is out of range.
        DataError: If the labels are invalid, or a class has no samples and `num_classes` is not given.
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
    checked_choice(scheme, "scheme", get_args(Scheme))
    checked_choice(normalize, "normalize", ("mean", "sum", None))
    if num_classes is not None:
        num_classes = whole_number("num_classes", num_classes, least=1, most=_MOST_CLASSES)
    beta = _checked_beta(beta)
    encoded = encode_labels_of(y, num_classes=num_classes)
    counts = encoded.class_counts
    _refuse_empty_classes(encoded, counts, named=num_classes is not None)
    total = float(len(encoded.values))
    raw = _scheme(scheme, beta, total)
    of_problem = _of_labels if encoded.kind == "multi-label" else _of_classes
    # Balanced weights already have mean one: without rescaling they are N / (C * n) to the last bit.
    weights = of_problem(raw, counts, total, normalize, scaled=scheme == "balanced")
    return dict(enumerate(weights.tolist()))


def _scheme(scheme: Scheme, beta: float, total: float) -> Callable[[Counts], Counts]:
    """Return the function from class counts to raw weights; a count of 0 weighs like a count of 1."""

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
    # A side (present or absent) without samples counts as one: "balanced" is N / (2 * n) also where all have the label.
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
            f"labels in which no sample has class {name!r} ({len(empty)} of {len(counts)} classes have no samples)",
            expected="at least one sample of each class",
            fix=f"remove the class, or pass num_classes={len(counts)} if it has no samples on purpose",
        )


def _checked_beta(beta: Any) -> float:
    number = isinstance(beta, int | float | np.integer | np.floating) and not isinstance(beta, bool)
    if not (number and 0 <= beta < 1):
        raise ArgumentError(
            f"beta={beta!r}",
            expected="a number with 0 <= beta < 1",
            fix="pass beta=0.9999, for example, or scheme='inverse' for the limit beta = 1",
        )
    return float(beta)
