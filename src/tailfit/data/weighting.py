"""The weight of each sample: its class's weight times its own."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError
from tailfit.weights import class_weights, sample_weights

__all__ = ["combined_weights"]


def combined_weights(
    source: Source,
    class_weight: Mapping[int, float] | Mapping[str, float] | str | None,
    sample_weight: ArrayLike | Mapping[str, float] | None,
) -> NDArray[np.float64] | None:
    """`float64[n]`, or None where neither is given; see `tailfit.Batches` for the arguments."""
    given = [
        name for name, value in (("class_weight", class_weight), ("sample_weight", sample_weight)) if value is not None
    ]
    if given and source.labels is None:
        raise ArgumentError(
            f"{given[0]} for an unlabelled source",
            allowed="labels: there is no loss to weigh without",
            mend="leave it out",
        )
    parts = []
    if class_weight is not None:
        parts.append(_of_classes(source, class_weight))
    if sample_weight is not None:
        parts.append(_of_samples(source, sample_weight))
    return None if not parts else np.prod(parts, axis=0)


def _of_classes(source: Source, given: Mapping[Any, float] | str) -> NDArray[np.float64]:
    labels: Any = source.labels
    if source.label_kind == "multi-label":
        raise ArgumentError(
            "class_weight for multi-label samples, which have several classes",
            allowed="one class a sample, or soft labels",
            mend="pass class_weights= to the loss, which weighs each label, or sample_weight= here",
        )
    scheme: Any = given  # class_weights checks the name
    table = class_weights(source, scheme) if isinstance(given, str) else _checked_table(source, given)
    per_class = np.array([table[code] for code in range(len(source.class_names))], dtype=np.float64)
    # Of soft labels the expected weight: what the mean over draws from the distribution would be.
    weights: NDArray[np.float64] = per_class[labels] if source.label_kind == "codes" else labels @ per_class
    return weights


def _checked_table(source: Source, given: Mapping[Any, float]) -> dict[int, float]:
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"class_weight of type {type(given).__name__}",
            allowed="a dict of weights by class name or code, or the name of a scheme such as 'balanced'",
            mend="pass one of them; weights of single samples are sample_weight=",
        )
    names = source.class_names
    table: dict[int, float] = {}
    for key, weight in given.items():
        code = names.index(key) if isinstance(key, str) and key in names else key
        if isinstance(code, bool) or not isinstance(code, int | np.integer) or not 0 <= code < len(names):
            raise ArgumentError(
                f"class_weight for the unknown class {key!r}",
                allowed=f"the classes {', '.join(map(repr, names))}, or their codes 0 to {len(names) - 1}",
                mend="correct the name",
            )
        if int(code) in table:
            raise ArgumentError(
                f"class_weight for {names[code]!r} twice, by name and by code",
                allowed="one weight a class",
                mend="drop one",
            )
        _check_weight(f"class_weight {weight!r} for {key!r}", weight)
        table[int(code)] = float(weight)
    missing = [name for code, name in enumerate(names) if code not in table]
    if missing:
        raise ArgumentError(
            f"class_weight without the class {missing[0]!r}",
            allowed="a weight for every class: one left out would silently weigh 1",
            mend=f"add {missing[0]!r}: 1.0 if that is meant",
        )
    return table


def _check_weight(what: str, weight: Any) -> None:
    number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
    if not (number and math.isfinite(weight) and weight >= 0):
        raise ArgumentError(what, allowed="finite numbers >= 0", mend="correct the weight")


def _of_samples(source: Source, given: ArrayLike | Mapping[str, float]) -> NDArray[np.float64]:
    if isinstance(given, Mapping):
        return np.asarray(sample_weights(source, given), dtype=np.float64)
    weights = np.asarray(given)
    if weights.shape != (len(source),) or weights.dtype.kind not in "iuf":
        raise ArgumentError(
            f"sample_weight of shape {weights.shape} and type {weights.dtype}",
            allowed=f"one number for each of the source's {len(source)} samples, in their order",
            mend="index the weights as the source was split, e.g. weights[part.indices]",
        )
    weights = weights.astype(np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"sample_weight {weights[row]} for ID {source.ids[row]!r}",
            allowed="finite numbers >= 0",
            mend="correct the weight",
        )
    return weights
