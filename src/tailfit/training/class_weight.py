"""Class weights of arrays in `fit`, where Keras would weigh samples wrongly and not say so.

Keras takes the arg max of every row of y: of several labels the first one, of an all-zero row class 0, of a row of
tokens the place of the largest. A class left out weighs 1. A data adapter of one's own is not told of the weights.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.labels import Encoded, encode
from tailfit.weights.tables import by_class, checked_table, class_table

__all__ = ["class_weighted", "with_class_weight_checked"]


def class_weighted(
    y: Any, class_weight: Mapping[Any, float], sample_weight: Any, *, what: str = "class_weight"
) -> tuple[NDArray[np.float32], dict[int, float]]:
    """The weight of each sample (its class's, times its own if it has one), and the table of weights by code.

    Raises:
        ArgumentError: for labels that have no single class each, an invalid table, or a class without a weight.
    """
    if y is None or keras.tree.is_nested(y):
        raise ArgumentError(
            f"{what} " + ("without labels" if y is None else "for the labels of several outputs"),
            expected="one array of class codes or one-hot labels",
            fix="pass sample_weight={output: tailfit.weights.sample_weights(y[output], weights), ...}",
        )
    labels = np.asarray(keras.ops.convert_to_numpy(y))
    try:
        encoded = encode(labels)
    except DataError as error:
        if labels.size == len(labels):  # one number each, but a number that is no code
            raise ArgumentError(f"{what} for {error.received}", expected=error.expected, fix=error.fix) from None
        raise _several(what, error.received) from None
    if encoded.kind == "multi-label":
        raise _several(what, "multi-label y")
    table = _table(class_weight, encoded, what)
    present = np.unique(encoded.values) if encoded.kind == "codes" else np.arange(encoded.num_classes)
    missing = sorted(set(present.tolist()) - set(table))
    if missing:
        raise ArgumentError(
            f"{what} without class {missing[0]}",
            expected="a weight for every class among the labels",
            fix=f"add {missing[0]}: 1.0 if that is meant",
        )
    weights = by_class(encoded, table)
    if sample_weight is not None:
        own = np.asarray(keras.ops.convert_to_numpy(sample_weight), dtype=np.float64)
        weights = weights * own.reshape(len(labels))
    return weights.astype(np.float32), table


def _several(what: str, received: str) -> ArgumentError:
    return ArgumentError(
        f"{what} for {received}",
        expected="one class a sample: codes or one-hot rows",
        fix="weigh each label in the loss (class_weights=), or pass sample_weight=: one weight a sample, or for labels "
        "per step or pixel one for each of them",
    )


def _table(given: Any, encoded: Encoded, what: str) -> dict[int, float]:
    """Weights by code; those of codes beyond the labels, which Keras does not read either, are left out."""
    if not isinstance(given, Mapping):
        scheme = f"tailfit.weights.class_weights(y, {given!r})" if isinstance(given, str) else "{0: 1.0, 1: 2.0, ...}"
        raise ArgumentError(
            f"{what} of type {type(given).__name__} for arrays",
            expected="a dict of weights by class code",
            fix=f"pass {what}={scheme}, or fit a tailfit.Batches, which takes schemes and schedules",
        )
    try:
        table = checked_table(given)
        beyond = {key for key in table if isinstance(key, int) and key >= encoded.num_classes}
        return class_table({key: table[key] for key in table.keys() - beyond}, encoded.class_names)
    except ArgumentError as error:
        raise ArgumentError(f"{what}: {error.received}", expected=error.expected, fix=error.fix) from None


def with_class_weight_checked(call: dict[str, Any]) -> None:
    """Check the `class_weight` of a call of `fit`; multiply it with `sample_weight`, which Keras can't.

    Raises:
        ArgumentError: where the samples would not be weighed by their classes.
    """
    x, y, class_weight = call.get("x"), call.get("y"), call.get("class_weight")
    if class_weight is None:
        return
    if hasattr(x, "get_numpy_iterator"):
        raise ArgumentError(
            f"class_weight beside the data adapter {type(x).__name__}, which would not be told of it",
            expected="class_weight for arrays",
            fix="let the adapter give (x, y, sample_weight), or pass tailfit.Batches(source, class_weight=...)",
        )
    if y is None:
        return  # a data set: its batches are for Keras, or their maker, to weigh
    weights, table = class_weighted(y, class_weight, call.get("sample_weight"))
    if call.get("sample_weight") is None:
        call["class_weight"] = table
        return
    if call.get("validation_split"):
        raise ArgumentError(
            "class_weight and sample_weight beside validation_split",
            expected="both without validation_split: class weights are not for the validation part",
            fix="split the data yourself and pass validation_data=",
        )
    call["sample_weight"], call["class_weight"] = weights, None
