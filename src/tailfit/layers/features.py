"""How features get to a loss: they hang on the predictions, as Keras' masks do."""

import weakref
from typing import Any

import keras
from keras import ops

from tailfit.errors import ArgumentError

__all__ = ["WithFeatures", "feature_norms_beside"]

# By the id of a living tensor: a tracer takes no attributes, and no tensor is a key of a dictionary.
_norms: dict[int, Any] = {}


def feature_norms_beside(y_pred: Any) -> Any:
    """The sums of absolute features that `WithFeatures` hung on predictions, `(batch, ...)`, or None."""
    return _norms.get(id(y_pred))


@keras.saving.register_keras_serializable(package="tailfit")
class WithFeatures(keras.layers.Layer):
    """Its first input, unchanged, with the size of the second beside it: for `tailfit.losses.InfluenceBalanced`.

    It must be the last layer: what another one computes of the predictions has no features beside it.

    Args:
        **kwargs: `name`, as in `keras.layers.Layer`.
    Shapes: `y_pred` `(batch, ..., C)` and features `(batch, ..., features)` to `y_pred`; beside it the sum of the
        features' absolute values, float32 `(batch, ...)`.
    Raises:
        ArgumentError: for features of another number of axes.

    >>> inputs = keras.Input((3,))
    >>> features = keras.layers.Dense(8, activation="relu")(inputs)
    >>> outputs = WithFeatures()(keras.layers.Dense(4)(features), features)
    >>> outputs.shape
    (None, 4)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # what a head gives in float32 stays so
        self.supports_masking = True

    def build(self, y_pred_shape: Any, features_shape: Any) -> None:
        if len(y_pred_shape) != len(features_shape):
            raise ArgumentError(
                f"features of shape {tuple(features_shape)} beside predictions of shape {tuple(y_pred_shape)}",
                expected="one vector of features for each row of predictions",
                fix="pass what the last layer gets as its input",
            )

    def call(self, y_pred: Any, features: Any) -> Any:
        norms = ops.sum(ops.abs(ops.cast(features, "float32")), axis=-1)
        _norms[id(y_pred)] = norms
        weakref.finalize(y_pred, _norms.pop, id(y_pred), None)
        return y_pred

    def compute_output_shape(self, y_pred_shape: Any, features_shape: Any) -> Any:
        return y_pred_shape
