"""Class weights for the validation data: Keras weighs the training loss only, and then compares the two."""

from collections.abc import Mapping
from typing import Any

import keras

from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.training.class_weight import class_weighted

__all__ = ["weighted_validation"]


def weighted_validation(data: Any, class_weight: Mapping[int, float]) -> tuple[Any, Any, Any]:
    """`(x, y, sample_weight)` of arrays, each sample weighed by its class, and by its own weight if it has one.

    Raises:
        ArgumentError: for data that has no arrays of labels, or a class without a weight.
    """
    if data is None or isinstance(data, Batches):
        raise ArgumentError(
            "validation_class_weight with " + ("no validation_data" if data is None else "a Batches to validate on"),
            expected="validation_data=(x, y) or (x, y, sample_weight) in arrays",
            fix="pass validation_data" if data is None else "pass class_weight to the Batches",
        )
    parts = data if isinstance(data, tuple | list) else (data,)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(parts))
    return x, y, class_weighted(y, class_weight, sample_weight, what="validation_class_weight")
