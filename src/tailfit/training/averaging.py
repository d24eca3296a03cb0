"""Stochastic weight averaging: the equal mean of the weights at the end of the last epochs."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import whole_number
from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.keras_private import leaf_layers
from tailfit.training.compiled import function

__all__ = ["AverageWeights"]


class AverageWeights(keras.callbacks.Callback):
    """Assign the mean of the weights at the ends of the epochs from `start` on, when training ends (SWA).

    Means and variances of batch normalization belong to other weights than the mean ones. With `batches` they are
    computed anew, as the means over one epoch of these batches. A run that `Resume` continues averages exactly as one
    that was not interrupted. (For an exponential average, use `use_ema=True` of Keras' optimizers.)

    Args:
        start: First epoch, from 0, whose weights are in the mean; the authors begin after 75 % of the epochs.
        batches: Batches of the training data; required for networks with batch normalization.
    Raises:
        ArgumentError: If `start` is not a whole number >= 0; in `fit`, if `batches` are missing.
    Source: Izmailov et al. 2018, arXiv:1803.05407, algorithm 1.

    >>> import tailfit
    >>> inputs = keras.Input((3,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False)(inputs))
    >>> model.compile("sgd", "mse")
    >>> seen = []
    >>> after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()[0]))
    >>> callbacks = [after, tailfit.callbacks.AverageWeights(start=1)]
    >>> history = model.fit(np.eye(3), np.ones(3), epochs=3, callbacks=callbacks, verbose=0)
    >>> bool(np.allclose(model.get_weights()[0], (seen[1] + seen[2]) / 2))
    True
    """

    def __init__(self, start: int, batches: Batches | None = None) -> None:
        super().__init__()
        self.start = whole_number("start", start)
        self.batches = batches
        self._count, self._means = 0, list[np.ndarray[Any, Any]]()

    def get_state(self) -> dict[str, Any]:
        """Return the state that `Resume` saves: the number of epochs in the mean, and the mean."""
        return {"count": self._count, "means": list(self._means)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self._count, self._means = int(state["count"]), [np.asarray(mean) for mean in state["means"]]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._count, self._means = 0, []
        if self.batches is None and self._normalizations():
            raise ArgumentError(
                "AverageWeights without batches for a network with batch normalization",
                expected="the batches of the training data, with which its means and variances are computed anew",
                fix="pass AverageWeights(start, batches=batches)",
            )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch < self.start:
            return
        # In float64, and copied: on torch, the array shares the memory of the variable.
        values = [np.array(ops.convert_to_numpy(v), np.float64) for v in self.model.trainable_variables]
        self._count += 1
        means = self._means or values
        self._means = [mean + (value - mean) / self._count for mean, value in zip(means, values, strict=True)]

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self._count:
            return
        for variable, mean in zip(self.model.trainable_variables, self._means, strict=True):
            variable.assign(mean.astype(keras.backend.standardize_dtype(variable.dtype)))
        if self._normalizations():
            self._renew_statistics()

    def _normalizations(self) -> list[Any]:
        layers = leaf_layers(self.model)
        return [each for each in layers if isinstance(each, keras.layers.BatchNormalization) and each.trainable]

    def _renew_statistics(self) -> None:
        """Set the statistics of batch normalization to their means over the batches of one epoch."""
        model, batches, layers = self.model, self.batches, self._normalizations()
        before = [layer.momentum for layer in layers]
        statistics = [variable for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
        sums = [np.zeros(variable.shape) for variable in statistics]
        rows = 0

        @function
        def forward(x: Any) -> None:
            model(x, training=True)

        try:
            for layer in layers:
                layer.momentum = 0.0  # then a pass assigns the statistics of its batch
            for batch in () if batches is None else batches.iterate(0):
                forward(batch[0])
                size = len(keras.tree.flatten(batch[0])[0])
                rows += size
                for total, variable in zip(sums, statistics, strict=True):
                    total += size * ops.convert_to_numpy(variable)
        finally:
            for layer, momentum in zip(layers, before, strict=True):
                layer.momentum = momentum
        for variable, total in zip(statistics, sums, strict=True):
            variable.assign((total / rows).astype("float32"))
