"""Pass features to a loss together with the predictions."""

from typing import Any

import keras
from keras import ops

from tailfit.errors import ArgumentError
from tailfit.layers.attached import attach, attached

__all__ = ["WithFeatures", "feature_norms_of"]


def feature_norms_of(y_pred: Any) -> Any:
    """Return the sums of absolute features that `WithFeatures` attached to predictions, `(batch, ...)`, or None."""
    return attached("feature norms", y_pred)


@keras.saving.register_keras_serializable(package="tailfit")
class WithFeatures(keras.layers.Layer):
    """Return the predictions unchanged, with the norm of the features attached for `tailfit.losses.InfluenceBalanced`.

    Use it as the last layer: the output of any later layer has no features attached.

    Args:
        **kwargs: `name`, as in `keras.layers.Layer`.
    Shapes: `y_pred` `(batch, ..., C)` and features `(batch, ..., features)` to `y_pred`; attached to it is the sum of
        the features' absolute values, float32 `(batch, ...)`.
    Raises:
        ArgumentError: If predictions and features differ in the number of axes.

    >>> inputs = keras.Input((3,))
    >>> features = keras.layers.Dense(8, activation="relu")(inputs)
    >>> outputs = WithFeatures()(keras.layers.Dense(4)(features), features)
    >>> outputs.shape
    (None, 4)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # keep float32 predictions of the head in float32
        self.supports_masking = True

    def build(self, y_pred_shape: Any, features_shape: Any) -> None:
        if len(y_pred_shape) != len(features_shape):
            raise ArgumentError(
                f"features of shape {tuple(features_shape)} with predictions of shape {tuple(y_pred_shape)}",
                expected="one feature vector for each row of predictions",
                fix="pass the input of the last Dense layer as the features",
            )

    def call(self, y_pred: Any, features: Any) -> Any:
        attach("feature norms", y_pred, ops.sum(ops.abs(ops.cast(features, "float32")), axis=-1))
        return y_pred

    def compute_output_shape(self, y_pred_shape: Any, features_shape: Any) -> Any:
        return y_pred_shape
