"""Class weights for the validation data: Keras weighs the training loss only, and then compares the two."""

from typing import Any

import keras

from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.training.class_weight import class_weighted

__all__ = ["weighted_validation"]


def weighted_validation(data: Any, class_weight: Any) -> Any:
    """Validation data with each sample weighed by its class, and by its own weight if it has one.

    Of arrays it is `(x, y, sample_weight)`; of a `Batches` another one.

    Raises:
        ArgumentError: for data that has no arrays of labels, or a class without a weight.
    """
    if data is None:
        raise ArgumentError(
            "validation_class_weight with no validation_data",
            expected="validation_data to weigh: arrays or a tailfit.Batches",
            fix="pass validation_data",
        )
    if isinstance(data, Batches):
        try:
            return data.weighted(class_weight)
        except ArgumentError as error:  # which names the argument of Batches
            raise ArgumentError(f"validation_{error.received}", expected=error.expected, fix=error.fix) from None
    parts = data if isinstance(data, tuple | list) else (data,)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(parts))
    return x, y, class_weighted(y, class_weight, sample_weight, what="validation_class_weight")[0]
