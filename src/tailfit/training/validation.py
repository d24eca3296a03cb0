"""Class weights for the validation data: Keras weighs the training loss only, and then compares the two."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.labels import encode
from tailfit.weights.samples import by_class

__all__ = ["weighted_validation"]


def weighted_validation(data: Any, class_weight: Mapping[int, float]) -> tuple[Any, Any, Any]:
    """`(x, y, sample_weight)` of arrays, each sample weighed by its class, and by its own weight if it has one.

    Raises:
        ArgumentError: for data that has no arrays of labels, or a class without a weight.
    """
    if data is None or isinstance(data, Batches):
        raise ArgumentError(
            "validation_class_weight with " + ("no validation_data" if data is None else "a Batches to validate on"),
            allowed="validation_data=(x, y) or (x, y, sample_weight) in arrays",
            mend="pass validation_data" if data is None else "pass class_weight to the Batches",
        )
    parts = data if isinstance(data, tuple | list) else (data,)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(parts))
    if y is None or keras.tree.is_nested(y):
        raise ArgumentError(
            "validation_class_weight for validation_data " + ("without labels" if y is None else "with several labels"),
            allowed="one array of class codes or one-hot labels",
            mend="pass validation_data=(x, y), or weights of your own: (x, y, sample_weight)",
        )
    labels = np.asarray(keras.ops.convert_to_numpy(y))
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    encoded = encode(labels.astype(np.int64) if labels.ndim == 1 else labels, what="validation labels")
    present = np.unique(encoded.values) if encoded.kind == "codes" else np.arange(encoded.num_classes)
    missing = sorted(set(present.tolist()) - set(class_weight))
    if missing:
        raise ArgumentError(
            f"validation_class_weight without class {missing[0]}",
            allowed="a weight for every class among the validation labels",
            mend=f"add {missing[0]}: 1.0 if that is meant",
        )
    known = {code: weight for code, weight in class_weight.items() if code < encoded.num_classes}
    weights = by_class(encoded, known)
    if sample_weight is not None:
        weights = weights * np.asarray(keras.ops.convert_to_numpy(sample_weight), dtype=np.float64).reshape(len(labels))
    return x, y, weights.astype(np.float32)
