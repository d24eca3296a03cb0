"""The second stage of MiSLAS: label-aware smoothing, one factor per class, and new batch statistics."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import whole_number
from tailfit.data import Batches
from tailfit.losses import LabelAwareSmoothing
from tailfit.stages.classifier import classifier_of, refuse_unbalanced, train_scales
from tailfit.training.compiled import function
from tailfit.training.divisor import rows_of
from tailfit.training.gradients import value_and_grad
from tailfit.training.model import Model

__all__ = ["mislas_classifier"]


def mislas_classifier(
    model: Model,
    batches: Batches,
    *,
    epochs: int,
    optimizer: Any = "adam",
    loss: Any = None,
    head: Any = None,
) -> dict[str, list[float]]:
    """Train the last layer and one factor per class on class-balanced batches with label-aware smoothing (MiSLAS).

    The layer keeps its weights at the beginning. All other weights are constant, but layers of batch normalization
    move their means and variances to those of the balanced batches. The model is called in training mode, so dropout
    is active. The factors multiply the logits; they are multiplied into kernel and bias, so the model keeps its layers.
    The first stage of MiSLAS is a training with `steps.Mixup`.

    Args:
        model: Trained model.
        batches, epochs, optimizer, head: See `retrain_classifier`.
        loss: Loss of this stage, by default `LabelAwareSmoothing` with the class counts of the source, for logits.
    Returns:
        A dict of lists: "loss" with the mean loss of each epoch, and "scales" with the final factor of each class.
    Raises:
        ArgumentError: See `retrain_classifier`.
    Source: Zhong et al. 2021, arXiv:2104.00466, section 3 and their code.

    >>> import tailfit
    >>> x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 4 // 3
    >>> inputs = keras.Input((3,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> balanced = tailfit.Batches(tailfit.data.Arrays(x, y), sampler=tailfit.samplers.ClassBalanced())
    >>> history = mislas_classifier(model, balanced, epochs=2)
    >>> len(history["loss"]), len(history["scales"])
    (2, 2)
    """
    layer = classifier_of(model, head)
    refuse_unbalanced(batches)
    whole_number("epochs", epochs, least=1)
    loss = LabelAwareSmoothing(batches.source, from_logits=True) if loss is None else loss
    optimizer = keras.optimizers.get(optimizer)
    effective = [layer.kernel, *([layer.bias] if layer.use_bias else [])]
    # Copies: on torch, convert_to_numpy shares memory.
    learned = [keras.Variable(np.array(ops.convert_to_numpy(weights))) for weights in effective]
    scales = keras.Variable(np.ones(layer.kernel.shape[-1], "float32"))
    mean = keras.metrics.Mean()

    @function
    def step(batch: Any) -> None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        value, gradients = value_and_grad(lambda: loss(y, model(x, training=True), sample_weight), effective)
        # The weights are scales * learned: the gradient of a scale is a sum over the weights of its class.
        of_scales = sum(
            ops.sum(ops.reshape(gradient * own, (-1, scales.shape[0])), axis=0)
            for gradient, own in zip(gradients, learned, strict=True)
        )
        optimizer.apply([*(gradient * scales for gradient in gradients), of_scales], [*learned, scales])
        for weights, own in zip(effective, learned, strict=True):
            weights.assign(own * scales)
        mean.update_state(value, sample_weight=rows_of(x))

    return train_scales(scales, step, mean, batches, epochs)
