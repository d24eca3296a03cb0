"""Padded steps of records of different length, which networks for series must not count."""

import math
from typing import Any

import keras
from keras import ops

from tailfit.errors import ArgumentError

__all__ = ["Steps"]

_LOWEST = -1e9  # below every value that a layer returns


class Steps:
    """The steps of the records in a network, and layers that ignore those that are padded.

    Without padding, all methods build the usual layers. With padding, x is 0 at padded steps after each layer, as a
    convolution with "same" padding sees the steps after the end of a record.

    Args:
        inputs: Input of the network, `(batch, steps, channels)`.
        padding: Value that padded steps have in every channel; None without padding.
    Raises:
        ArgumentError: If the value is not a finite number.
    """

    def __init__(self, inputs: Any, padding: float | None) -> None:
        self.mask: Any = None  # which steps are real, bool (batch, steps)
        if padding is not None:
            if isinstance(padding, bool) or not isinstance(padding, int | float) or not math.isfinite(padding):
                raise ArgumentError(
                    f"padding={padding!r}", expected="a finite number", fix="pass the value= of tailfit.data.Pad"
                )
            self._set(ops.any(ops.not_equal(inputs, float(padding)), axis=-1))

    def _set(self, mask: Any) -> None:
        self.mask, self._real = mask, ops.cast(ops.expand_dims(mask, -1), "float32")

    def kept(self, x: Any) -> Any:
        """Set padded steps to 0."""
        return x if self.mask is None else keras.layers.Multiply()([x, self._real])

    def normalized(self, x: Any) -> Any:
        """Apply batch normalization with the statistics of real steps."""
        layer = keras.layers.BatchNormalization()
        return layer(x) if self.mask is None else layer(x, mask=self.mask)

    def smoothed(self, x: Any) -> Any:
        """Return the maximum over three steps around each."""
        layer = keras.layers.MaxPooling1D(3, strides=1, padding="same")
        if self.mask is None:
            return layer(x)
        return self.kept(layer(keras.layers.Add()([x, ops.multiply(ops.subtract(1.0, self._real), _LOWEST)])))

    def halved(self, x: Any) -> Any:
        """Return the maximum over each two steps; an odd last step is left out, in padded records, too."""
        layer = keras.layers.MaxPooling1D(2)
        x = layer(x)
        if self.mask is not None:
            padded = keras.layers.MaxPooling1D(2)(ops.subtract(1.0, self._real))
            self._set(ops.equal(ops.squeeze(padded, axis=-1), 0.0))
        return self.kept(x)

    def mean(self, x: Any) -> Any:
        """Return the mean over the steps."""
        if self.mask is None:
            return keras.layers.GlobalAveragePooling1D()(x)
        count = ops.maximum(ops.sum(self._real, axis=1), 1.0)  # a record may have no real steps
        return keras.layers.Multiply()([ops.sum(self.kept(x), axis=1), ops.divide(1.0, count)])

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the call of a recurrent layer."""
        return {} if self.mask is None else {"mask": self.mask}
