"""The weight of each sample: its class weight, which may follow a schedule, times its sample weight."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded
from tailfit.schedules import Schedule
from tailfit.weights import class_weights, sample_weights
from tailfit.weights.tables import by_class, class_table

__all__ = [
    "ScheduledWeights",
    "Weights",
    "WeightsProduct",
    "combined_weights",
    "multiplied",
    "refuse_misread_weights",
    "weights_at",
    "weights_of",
]


def weights_of(
    source: Source,
    class_weight: Mapping[Any, float] | str | Schedule | None,
    sample_weight: ArrayLike | Mapping[str, float] | None,
) -> "Weights | None":
    """Return the weight of each sample, or None without weights; see `tailfit.Batches` for the arguments."""
    if isinstance(class_weight, Schedule):
        return ScheduledWeights(source, class_weight, sample_weight)
    return combined_weights(source, class_weight, sample_weight)


def combined_weights(
    source: Source,
    class_weight: Mapping[Any, float] | str | None,
    sample_weight: ArrayLike | Mapping[str, float] | None,
) -> NDArray[np.float64] | None:
    """Return constant weights, `float64[n]`, or None without weights; see `tailfit.Batches` for the arguments."""
    given = [
        name for name, value in (("class_weight", class_weight), ("sample_weight", sample_weight)) if value is not None
    ]
    if not given:
        return None
    encoded = _labels_of(source, given[0])
    parts = []
    if class_weight is not None:
        parts.append(_from_classes(source, encoded, class_weight))
    if sample_weight is not None:
        parts.append(_from_samples(source, sample_weight))
    weights: NDArray[np.float64] = np.prod(parts, axis=0)
    return weights


class ScheduledWeights:
    """The weight of each sample with class weights that follow a schedule.

    Args:
        source: Source of the samples.
        schedule: Schedule of one weight per class, in the order of the class names.
        sample_weight: See `combined_weights`.
    Raises:
        ArgumentError: If weights are out of range: by the constructor at a knot of the schedule, else at the epoch.
    """

    def __init__(
        self, source: Source, schedule: Schedule, sample_weight: ArrayLike | Mapping[str, float] | None
    ) -> None:
        self._source, self._schedule = source, schedule
        self._encoded = _labels_of(source, "class_weight")
        self._sample_weights = combined_weights(source, None, sample_weight)
        self._latest = schedule(0), self._compute(0)
        for knot in schedule.knots:
            self._table(knot)

    def at(self, epoch: int) -> NDArray[np.float64]:
        """Return the weights in an epoch, `float64[n]`."""
        value, weights = self._latest
        current = self._schedule(epoch)
        if value != current:
            weights = self._compute(epoch)
            self._latest = current, weights  # a single assignment, because reader threads use it too
        return weights

    def _compute(self, epoch: int) -> NDArray[np.float64]:
        weights = _from_classes(self._source, self._encoded, self._table(epoch))
        return weights if self._sample_weights is None else weights * self._sample_weights

    def _table(self, epoch: float) -> dict[int, float]:
        value, names = self._schedule(epoch), self._encoded.class_names
        count = len(value) if isinstance(value, tuple) else 1
        where = f"at epoch {epoch:g} of {self._schedule!r}"
        if not isinstance(value, tuple) or count != len(names):
            raise ArgumentError(
                f"class_weight of {count} number{'s' * (count != 1)} {where}",
                expected=f"one weight for each of the {len(names)} classes",
                fix="pass a schedule of one weight per class, in the order of the source's class_names",
            )
        try:
            return _checked_table(dict(enumerate(value)), self._encoded)
        except ArgumentError as error:
            raise ArgumentError(f"{error.received} {where}", expected=error.expected, fix=error.fix) from None


class WeightsProduct:
    """The product of two weights of each sample, at least one of which follows a schedule."""

    def __init__(self, one: "Weights", other: "Weights") -> None:
        self._factors = one, other
        self._latest: tuple[Any, Any, NDArray[np.float64]] | None = None

    def at(self, epoch: int) -> NDArray[np.float64]:
        """Return the weights in an epoch, `float64[n]`."""
        one, other = (weights_at(factor, epoch) for factor in self._factors)
        latest = self._latest
        if latest is None or latest[0] is not one or latest[1] is not other:
            latest = self._latest = one, other, one * other
        return latest[2]


Weights = NDArray[np.float64] | ScheduledWeights | WeightsProduct


def weights_at(weights: Weights, epoch: int) -> NDArray[np.float64]:
    """Return weights in an epoch, `float64[n]`."""
    return weights if isinstance(weights, np.ndarray) else weights.at(epoch)


def multiplied(one: Weights | None, other: Weights | None) -> Weights | None:
    """Multiply two weights of each sample; None means weights of 1.

    >>> multiplied(np.array([1.0, 2.0]), np.array([3.0, 0.5])).tolist()
    [3.0, 1.0]
    """
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one * other
    return WeightsProduct(one, other)


def refuse_misread_weights(source: Source, class_weight: Any) -> None:
    """Check that Keras interprets the `class_weight` of a plain Keras `fit` as intended.

    Keras looks up the class index, or the index of the largest entry of a row; a class that is not in the dict silently
    has weight 1.

    Raises:
        ArgumentError: If Keras would silently use different weights.
    """
    encoded = _labels_of(source, "class_weight")
    names = [key for key in class_weight if isinstance(key, str)] if isinstance(class_weight, Mapping) else []
    if names or encoded.kind != "codes" or not isinstance(class_weight, Mapping):
        what = f"with the key {names[0]!r}" if names else f"of type {type(class_weight).__name__} for {encoded.kind}"
        raise ArgumentError(
            f"class_weight {what} in the fit of a plain keras.Model",
            expected="weights by class index and one class per sample, because plain Keras handles nothing else",
            fix="pass class_weight= to the Batches, or train with tailfit.Model",
        )
    _checked_table(class_weight, encoded)


def _labels_of(source: Source, for_what: str) -> Encoded:
    if source.encoded is None:
        raise ArgumentError(
            f"{for_what} for an unlabelled source",
            expected="a source with labels, because weights apply to the loss",
            fix=f"drop {for_what}=, or pass labels to the source",
        )
    return source.encoded


def _from_classes(source: Source, encoded: Encoded, given: Mapping[Any, float] | str) -> NDArray[np.float64]:
    if encoded.kind == "multi-label":
        raise ArgumentError(
            "class_weight for multi-label samples, which have several classes",
            expected="one class per sample, or soft labels",
            fix="pass class_weights= to the loss, which weights each label, or sample_weight= here",
        )
    scheme: Any = given  # class_weights() checks the name
    table = class_weights(source, scheme) if isinstance(given, str) else _checked_table(given, encoded)
    return by_class(encoded, table)


def _checked_table(given: Any, encoded: Encoded) -> dict[int, float]:
    names = encoded.class_names
    try:
        table = class_table(given, names)
    except ArgumentError as error:
        raise ArgumentError(f"class_weight: {error.received}", expected=error.expected, fix=error.fix) from None
    counts = encoded.class_counts
    missing = [name for code, name in enumerate(names) if code not in table and counts[code] > 0]
    if missing:
        raise ArgumentError(
            f"class_weight without the class {missing[0]!r}",
            expected="a weight for every class, because a missing class would silently have weight 1",
            fix=f"add {missing[0]!r}: 1.0 if that is intended",
        )
    return table


def _from_samples(source: Source, given: ArrayLike | Mapping[str, float]) -> NDArray[np.float64]:
    if isinstance(given, Mapping):
        return np.asarray(sample_weights(source, given), dtype=np.float64)
    weights = np.asarray(given)
    if weights.shape != (len(source),) or weights.dtype.kind not in "iuf":
        raise ArgumentError(
            f"sample_weight of shape {weights.shape} and type {weights.dtype}",
            expected=f"one number for each of the source's {len(source)} samples, in their order",
            fix="for a part of a split, index the weights with weights[part.indices]",
        )
    weights = weights.astype(np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"sample_weight {weights[row]} for ID {source.ids[row]!r}",
            expected="finite numbers >= 0",
            fix="correct the weight",
        )
    return weights
