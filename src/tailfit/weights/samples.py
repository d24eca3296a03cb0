"""Sample weights by class name and by conditions on the metadata.

Weights multiply: a sample's weight is the product of the weight of its class, the weights of all conditions it meets,
and any further array (the quality of its label, `Batches(class_weight=)`). It is 1 where nothing applies.
"""

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import encode_labels_of, source_of
from tailfit.weights.conditions import matches
from tailfit.weights.outputs import by_output
from tailfit.weights.tables import by_class, checked_table, shown_names, split_table

__all__ = ["sample_weights"]


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
    """Compute the weight of each sample from a table of weights by class or by condition.

    Args:
        y: Labels as in `class_weights`. For conditions: a source, Batches of one, or a polars DataFrame of metadata
            with one row per sample. For a model with several outputs: a dict of labels by output, with `weights` a dict
            of tables; the result is what `fit(sample_weight=)` takes for such a model.
        weights: Weights by class name or class index, and for a source also by SQL conditions on `source.metadata`,
            such as `"site = 'B' AND snr < 3"`. A key that equals a class name means the class. The weights of all
            entries that apply to a sample multiply. A missing value (null or NaN) meets no comparison: neither
            `snr >= 3` nor `snr != 3` nor `NOT (snr >= 3)`; test for it with `snr IS NULL`. A soft label gets the
            expected weight of its classes, a multi-label sample the product.
        class_names: Names of the classes in the order of their indices, where `y` are class indices or rows.
    Shapes: `float32[n]`, dimensionless.
    Raises:
        ArgumentError: If a class, a column or a condition is unknown or invalid, or a weight is negative or not finite.
        DataError: If the labels are invalid.

    >>> sample_weights(["ok", "valve leak", "ok"], {"valve leak": 1.5}).tolist()
    [1.0, 1.5, 1.0]
    >>> sample_weights(pl.DataFrame({"site": ["A", "B"]}), {"site = 'B'": 0.5}).tolist()
    [1.0, 0.5]

    Weights by class, condition and label quality multiply:

    >>> quality = np.array([0.5, 1.0])  # from tailfit.weights.label_quality
    >>> (sample_weights(["ok", "leak"], {"leak": 4.0}) * quality).tolist()
    [0.5, 4.0]
    """
    if isinstance(y, Mapping):
        return by_output(
            lambda labels, table, names: sample_weights(labels, table, class_names=names),
            y,
            weights=weights,
            class_names=class_names,
        )
    table = checked_table(weights)
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite product is refused at the end
        return _as_float32(_products(y, table, class_names), table)


def _products(y: Any, table: Mapping[str | int, float], class_names: Sequence[str] | None) -> NDArray[np.float64]:
    source = source_of(y)
    if isinstance(y, pl.DataFrame):
        return _by_condition(y, table)
    if source is not None:
        return _of_source(source, table, class_names)
    encoded = encode_labels_of(y, class_names=class_names)
    return by_class(encoded, split_table(table, encoded.class_names, has_conditions=False)[0])


def _of_source(source: Any, table: Mapping[str | int, float], class_names: Sequence[str] | None) -> NDArray[np.float64]:
    names = tuple(getattr(source, "class_names", None) or class_names or ())
    metadata: Any = getattr(source, "metadata", None)
    codes, conditions = split_table(table, names, has_conditions=metadata is not None)
    samples = len(source) if source.labels is None else len(source.labels)
    if conditions and metadata.height != samples:
        raise DataError(
            f"metadata of {metadata.height} rows for {samples} samples",
            expected="one row per sample, in the order of the samples",
            fix="join the metadata to the samples by their IDs",
        )
    result = np.ones(samples)
    if codes:
        result *= by_class(encode_labels_of(source, class_names=class_names), codes)
    if conditions:
        try:
            result *= _by_condition(metadata, conditions)
        except ArgumentError as error:
            expected = f"{error.expected}; or a class, {shown_names(names)}"
            raise ArgumentError(error.received, expected=expected, fix=error.fix) from error
    return result


def _by_condition(metadata: pl.DataFrame, weights: Mapping[Any, float]) -> NDArray[np.float64]:
    result = np.ones(metadata.height)
    for condition, weight in weights.items():
        if not isinstance(condition, str):
            raise ArgumentError(
                f"the key {condition!r} for a table of metadata",
                expected="conditions on the columns of the metadata",
                fix="pass the source or its labels to set weights by class",
            )
        result[matches(metadata, condition)] *= weight
    return result


def _as_float32(weights: NDArray[np.float64], table: Mapping[str | int, float]) -> NDArray[np.float32]:
    if weights.size and not weights.max() <= np.finfo(np.float32).max:  # NaN: an infinite product times 0
        raise ArgumentError(
            f"weights {list(table.values())!r} whose product is {weights.max():g}",
            expected="products within the range of float32, up to 3.4e38",
            fix="scale the weights down",
        )
    return weights.astype(np.float32)
