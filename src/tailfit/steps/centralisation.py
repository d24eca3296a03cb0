"""Gradient centralisation."""

from typing import Any

import keras
from keras import ops

from tailfit.steps.tensors import combined
from tailfit.training.step import Batch, Compute, Step

__all__ = ["GradientCentralization"]


@keras.saving.register_keras_serializable(package="tailfit")
class GradientCentralization(Step):
    """Subtracts from the gradient of each kernel its mean over all axes except the last, that of the outputs.

    So the sum of the weights of each output stays constant. Gradients of rank 0 and 1 (biases, scales) are unchanged.
    Put it first in the list, so that it centralises the gradients that reach the optimizer.

    Source: Yong et al. 2020, arXiv:2004.01461, eq. 1.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((2,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))
    >>> model.compile(keras.optimizers.SGD(1.0), "mse", steps=[tailfit.steps.GradientCentralization()])
    >>> history = model.fit(np.array([[1.0, 3.0]]), np.ones((1, 1)), verbose=0)
    >>> model.get_weights()[0].ravel().tolist()  # instead of [2.0, 6.0]
    [-2.0, 2.0]
    """

    def gradients(self, model: keras.Model, compute: Compute, batch: Batch) -> tuple[tuple[Any, Any], list[Any]]:
        result, gradients = compute(batch)
        return result, combined(_centred, gradients)


def _centred(gradient: Any) -> Any:
    rank = len(gradient.shape)
    if rank < 2:
        return gradient
    return gradient - ops.mean(gradient, axis=tuple(range(rank - 1)), keepdims=True)
