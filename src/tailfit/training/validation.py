"""Class weights for validation data: Keras weights the training loss only, and so `val_loss` is not comparable."""

from typing import Any

import keras

from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.training.class_weight import class_weighted

__all__ = ["weighted_validation"]


def weighted_validation(data: Any, class_weight: Any) -> Any:
    """Return validation data in which each sample is weighted by its class, times its own weight if it has one.

    Arrays become `(x, y, sample_weight)`, a `Batches` becomes another `Batches`.

    Raises:
        ArgumentError: If the data have no array of labels, or a class has no weight.
    """
    if data is None:
        raise ArgumentError(
            "validation_class_weight with no validation_data",
            expected="validation_data to be weighted: arrays or a tailfit.Batches",
            fix="pass validation_data",
        )
    if isinstance(data, Batches):
        try:
            return data.weighted(class_weight)
        except ArgumentError as error:  # it names the argument of Batches
            raise ArgumentError(f"validation_{error.received}", expected=error.expected, fix=error.fix) from None
    parts = data if isinstance(data, tuple | list) else (data,)
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(parts))
    return x, y, class_weighted(y, class_weight, sample_weight, what="validation_class_weight")[0]
