"""Class weights for arrays in `fit`, in the cases where Keras silently weights samples wrongly.

Keras takes the arg max of every row of y: the first of several labels, class 0 for an all-zero row, the position of the
largest token in a row of tokens. A class without a weight gets 1. A custom data adapter does not receive the weights.
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
    """Return the weight of each sample (of its class, times its own), and the weight of each class index.

    Raises:
        ArgumentError: If samples do not have exactly one class, the table is invalid, or a class has no weight.
    """
    if y is None or keras.tree.is_nested(y):
        raise ArgumentError(
            f"{what} " + ("without labels" if y is None else "for the labels of several outputs"),
            expected="one array of class indices or one-hot labels",
            fix="pass sample_weight={output: tailfit.weights.sample_weights(y[output], weights), ...}",
        )
    labels = np.asarray(keras.ops.convert_to_numpy(y))
    try:
        encoded = encode(labels)
    except DataError as error:
        if labels.size == len(labels):  # one number each, but not a class index
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
            fix=f"add {missing[0]}: 1.0 if its samples should keep their weight",
        )
    weights = by_class(encoded, table)
    if sample_weight is not None:
        own = np.asarray(keras.ops.convert_to_numpy(sample_weight), dtype=np.float64)
        weights = weights * own.reshape(len(labels))
    return weights.astype(np.float32), table


def _several(what: str, received: str) -> ArgumentError:
    return ArgumentError(
        f"{what} for {received}",
        expected="one class per sample: class indices or one-hot rows",
        fix="weight each label in the loss (class_weights=), or pass sample_weight= with one weight per sample, or per "
        "step or pixel where labels are per step or pixel",
    )


def _table(given: Any, encoded: Encoded, what: str) -> dict[int, float]:
    """Return the weight of each class index. Indices beyond the labels are dropped: Keras does not read them either."""
    if not isinstance(given, Mapping):
        scheme = f"tailfit.weights.class_weights(y, {given!r})" if isinstance(given, str) else "{0: 1.0, 1: 2.0, ...}"
        raise ArgumentError(
            f"{what} of type {type(given).__name__} for arrays",
            expected="a dict from class index to weight",
            fix=f"pass {what}={scheme}, or fit a tailfit.Batches, which accepts schemes and schedules",
        )
    try:
        table = checked_table(given)
        beyond = {key for key in table if isinstance(key, int) and key >= encoded.num_classes}
        return class_table({key: table[key] for key in table.keys() - beyond}, encoded.class_names)
    except ArgumentError as error:
        raise ArgumentError(f"{what}: {error.received}", expected=error.expected, fix=error.fix) from None


def with_class_weight_checked(call: dict[str, Any]) -> None:
    """Check the `class_weight` of a call of `fit`, and multiply it with `sample_weight`, which Keras refuses to do.

    Raises:
        ArgumentError: If samples would not be weighted by their classes.
    """
    x, y, class_weight = call.get("x"), call.get("y"), call.get("class_weight")
    if class_weight is None:
        return
    if hasattr(x, "get_numpy_iterator"):
        raise ArgumentError(
            f"class_weight together with the data adapter {type(x).__name__}, to which Keras does not pass it",
            expected="class_weight with arrays",
            fix="have the adapter yield (x, y, sample_weight), or pass tailfit.Batches(source, class_weight=...)",
        )
    if y is None:
        return  # a data set: Keras, or the code that yields its batches, applies the weights
    weights, table = class_weighted(y, class_weight, call.get("sample_weight"))
    if call.get("sample_weight") is None:
        call["class_weight"] = table
        return
    if call.get("validation_split"):
        raise ArgumentError(
            "class_weight and sample_weight together with validation_split",
            expected="no validation_split: class weights must not apply to the validation samples",
            fix="split the data yourself, and pass validation_data=",
        )
    call["sample_weight"], call["class_weight"] = weights, None
