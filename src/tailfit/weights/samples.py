"""Sample weights by class name and by conditions on the metadata.

Weights multiply: a sample's weight is the product of what its class, each condition it meets and any further
array (a label's quality, `Batches(class_weight=)`) give it. What nothing applies to weighs 1.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, class_key
from tailfit.weights.conditions import matches
from tailfit.weights.given import by_output, encoded_labels, source_of

__all__ = ["by_class", "checked_table", "class_table", "sample_weights"]

_LARGEST = float(np.finfo(np.float64).max)


@overload
def sample_weights(
    y: Mapping[str, Any],
    weights: Mapping[str, Mapping[Any, float]],
    *,
    class_names: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, NDArray[np.float32]]: ...


@overload
def sample_weights(
    y: Any, weights: Mapping[str, float] | Mapping[int, float], *, class_names: Sequence[str] | None = None
) -> NDArray[np.float32]: ...


def sample_weights(y: Any, weights: Any, *, class_names: Any = None) -> Any:
    """A weight for each sample, from a table of weights by class or by condition.

    Args:
        y: Labels as in `class_weights`; or a source, or Batches of one, for conditions too; or the metadata
            alone, a polars DataFrame, for conditions only. Of a model with several outputs a dict of labels by
            output, beside a dict of tables: the result is what `fit(sample_weight=)` takes for it.
        weights: By class name or code, and for a source by SQL conditions over `source.metadata` as well, such
            as `"site = 'B' AND snr < 3"`. A key that is exactly a class name means the class. What applies
            to one sample multiplies. A missing value (null or NaN) meets no comparison, `snr != 3` and
            `NOT (snr >= 3)` as little as `snr >= 3`; ask for it by `snr IS NULL`. A soft label gets the
            expected weight of its classes, a multi-label one the product.
        class_names: Names of the classes in the order of their codes, where `y` are codes or rows.
    Shapes: `float32[n]`, ratios without unit.
    Raises:
        ArgumentError: for an unknown class or column, a condition that is none, or a weight that is negative
            or not finite.
        DataError: for labels not in order.

    >>> sample_weights(["ok", "valve leak", "ok"], {"valve leak": 1.5}).tolist()
    [1.0, 1.5, 1.0]
    >>> sample_weights(pl.DataFrame({"site": ["A", "B"]}), {"site = 'B'": 0.5}).tolist()
    [1.0, 0.5]

    Class, condition and quality multiply:

    >>> quality = np.array([0.5, 1.0])  # of tailfit.weights.label_quality
    >>> (sample_weights(["ok", "leak"], {"leak": 4.0}) * quality).tolist()
    [0.5, 4.0]
    """
    if isinstance(y, Mapping):
        return by_output(
            lambda labels, one, names: sample_weights(labels, one, class_names=names),
            y,
            weights=weights,
            class_names=class_names,
        )
    table = checked_table(weights)
    if isinstance(y, pl.DataFrame):
        return _finished(_by_condition(y, table), table)
    source = source_of(y)
    if source is None:
        encoded = encoded_labels(y, class_names=class_names)
        codes, conditions = _sorted_out(table, encoded.class_names, has_conditions=False)
        return _finished(by_class(encoded, codes), table)
    names = tuple(getattr(source, "class_names", None) or class_names or ())
    metadata: Any = getattr(source, "metadata", None)
    codes, conditions = _sorted_out(table, names, has_conditions=metadata is not None)
    samples = len(source) if source.labels is None else len(source.labels)
    if conditions and metadata.height != samples:
        raise DataError(
            f"metadata of {metadata.height} rows for {samples} samples",
            expected="one row a sample, in their order",
            fix="join the metadata to the samples' IDs",
        )
    result = np.ones(samples)
    if codes:
        result *= by_class(encoded_labels(source, class_names=class_names), codes)
    if conditions:
        try:
            result *= _by_condition(metadata, conditions)
        except ArgumentError as error:
            shown = _shown(names)
            raise ArgumentError(
                error.received, expected=f"{error.expected}; or a class, {shown}", fix=error.fix
            ) from error
    return _finished(result, table)


def class_table(weights: Any, names: Sequence[str]) -> dict[int, float]:
    """Weights by class code from weights by name or code, some or all of the classes.

    Raises:
        ArgumentError: for what is no dict, an unknown class, or a weight that is negative or not finite.

    >>> class_table({"leak": 2.0}, ["ok", "leak"])
    {1: 2.0}
    """
    no_condition = "correct the name; conditions go to sample_weight="
    return _sorted_out(checked_table(weights), names, has_conditions=False, otherwise=no_condition)[0]


def checked_table(weights: Any) -> dict[str | int, float]:
    """A table of weights with plain keys and values; names, codes and conditions are not told apart.

    Raises:
        ArgumentError: for what is no dict, a key that can't be a class, or a weight that is negative or not finite.
    """
    if not isinstance(weights, Mapping):
        raise ArgumentError(
            f"weights of type {type(weights).__name__}",
            expected="a dict of weights by class name or by condition",
            fix="an array of weights, one a sample, goes to sample_weight= as it is",
        )
    table: dict[str | int, float] = {}
    for key, weight in weights.items():
        name = class_key(key)
        if name is None:
            raise ArgumentError(
                f"the key {key!r}",
                expected="class names, codes (whole numbers) or conditions",
                fix="write names and conditions in quotes, codes as 0, 1, ...",
            )
        number = isinstance(weight, int | float | np.integer | np.floating) and not isinstance(weight, bool)
        plain = weight.item() if isinstance(weight, np.generic) else weight  # float32 can't be compared with _LARGEST
        if not (number and 0 <= plain <= _LARGEST):  # NaN is not
            raise ArgumentError(
                f"the weight {weight!r} for {key!r}",
                expected="finite numbers >= 0",
                fix="0 leaves samples out, 1 changes nothing",
            )
        table[name] = float(weight)
    return table


def _sorted_out(
    table: Mapping[str | int, float],
    names: Sequence[str],
    *,
    has_conditions: bool,
    otherwise: str = "for a condition, pass a source that has metadata",
) -> tuple[dict[int, float], dict[str | int, float]]:
    """Weights by class code, and the rest, conditions."""
    position = {name: code for code, name in enumerate(names)}
    codes: dict[int, float] = {}
    conditions: dict[str | int, float] = {}
    for key, weight in table.items():
        code = position.get(key) if isinstance(key, str) else key
        if isinstance(key, str) and code is None and has_conditions:
            conditions[key] = weight
            continue
        if code is None or not 0 <= code < len(names):
            raise _unknown(key, names, otherwise)
        if position.get(str(key), code) != code:
            raise ArgumentError(
                f"a weight for the class {key!r}, which is the code of {names[code]!r} and the name of another class",
                expected="a key that means one class",
                fix=f"write the name in quotes: {names[code]!r} or {str(key)!r}",
            )
        if code in codes:
            raise ArgumentError(
                f"weights for {names[code]!r} twice, by name and by code",
                expected="one weight a class",
                fix="drop one",
            )
        codes[code] = weight
    return codes, conditions


def _unknown(key: str | int, names: Sequence[str], otherwise: str) -> ArgumentError:
    near = get_close_matches(str(key), names, n=1)
    return ArgumentError(
        f"a weight for the unknown class {key!r}",
        expected=f"the class names {_shown(names)}, or their codes" if names else "no class, as there are no labels",
        fix=f"use {near[0]!r} if that is meant" if near else otherwise,
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")


def by_class(encoded: Encoded, weights: Mapping[int, float]) -> NDArray[np.float64]:
    """The weight of each sample from weights by class code; classes not named weigh 1.

    >>> from tailfit.labels import encode
    >>> by_class(encode(["ok", "leak"]), {0: 2.0}).tolist()
    [1.0, 2.0]
    """
    per_class = np.ones(encoded.num_classes)
    per_class[list(weights)] = list(weights.values())
    result: NDArray[np.float64]
    if encoded.kind == "codes":
        result = per_class[encoded.values]
    elif encoded.kind == "soft":
        result = encoded.values.astype(np.float64) @ per_class
    else:
        result = np.where(encoded.values > 0, per_class, 1.0).prod(axis=1)
    return result


def _by_condition(metadata: pl.DataFrame, weights: Mapping[str | int, float]) -> NDArray[np.float64]:
    result = np.ones(metadata.height)
    for condition, weight in weights.items():
        if not isinstance(condition, str):
            raise ArgumentError(
                f"the key {condition!r} for a table of metadata",
                expected="conditions over its columns",
                fix="pass the source or the labels to weigh by class",
            )
        result[matches(metadata, condition)] *= weight
    return result


def _finished(result: NDArray[np.float64], table: Mapping[str | int, float]) -> NDArray[np.float32]:
    if result.size and result.max() > np.finfo(np.float32).max:
        raise ArgumentError(
            f"weights {list(table.values())!r} whose product is {result.max():g}",
            expected="products within float32, up to 3.4e38",
            fix="scale the weights down",
        )
    return result.astype(np.float32)
