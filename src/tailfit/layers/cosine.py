"""A classifier head whose scores are cosines, independent of the norms of features and weights.

On long-tailed data the weight vectors of frequent classes grow longer, and their scores with them. Between unit vectors
only the angle matters, and a margin has the same unit for all classes.
"""

from typing import Any

import keras
from keras import ops

from tailfit.errors import ArgumentError

__all__ = ["CosineDense", "unit_vectors"]


@keras.saving.register_keras_serializable(package="tailfit")
class CosineDense(keras.layers.Layer):
    """Cosines between the features and one weight vector per class: a `Dense` layer on unit vectors, without bias.

    A loss that scales its input (`tailfit.losses.LDAM`) takes the scores as logits; the arg max is the most likely
    class. For probabilities, compute the softmax of `scale` times the scores, with the `scale` of the loss.

    Args:
        units: C, the number of classes, >= 1.
        kernel_initializer, kernel_regularizer, kernel_constraint: As in `keras.layers.Dense`.
        **kwargs: `name`, `dtype`, `trainable`, as in `keras.layers.Layer`.
    Shapes: features `(batch, ..., features)` to cosines `(batch, ..., units)` in [-1, 1]. Features of 0 give 0.
    Raises:
        ArgumentError: If `units` is not a whole number >= 1.
    Source: Cao et al. 2019, arXiv:1906.07413, section 3.2.

    >>> layer = CosineDense(2, kernel_initializer="identity")
    >>> cosines = ops.convert_to_numpy(layer(ops.convert_to_tensor([[3.0, 4.0]])))
    >>> [round(float(cosine), 4) for cosine in cosines[0]]
    [0.6, 0.8]
    """

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        kernel_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ArgumentError(f"units={units!r}", expected="a whole number >= 1", fix="pass the number of classes")
        self.units = units
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, inputs: Any) -> Any:
        return ops.matmul(unit_vectors(inputs, axis=-1), unit_vectors(self.kernel, axis=0))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }


def unit_vectors(vectors: Any, axis: int) -> Any:
    """Return vectors of length 1 in their own dtype; sums are float32, as 256 squared overflows float16."""
    vectors = ops.convert_to_tensor(vectors)
    dtype = keras.backend.standardize_dtype(vectors.dtype)
    wide = ops.cast(vectors, "float64" if dtype == "float64" else "float32")
    # Divide by the largest entry first: the squares of tiny or huge features underflow or overflow in float32.
    largest = ops.max(ops.abs(wide), axis=axis, keepdims=True)
    wide = wide / ops.stop_gradient(ops.where(largest > 0, largest, ops.ones_like(largest)))
    squared = ops.sum(ops.square(wide), axis=axis, keepdims=True)
    return ops.cast(wide * ops.rsqrt(ops.where(squared > 0, squared, ops.ones_like(squared))), dtype)
