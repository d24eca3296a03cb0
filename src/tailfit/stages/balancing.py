"""Weight balancing: the norms of the last layer's weights are bounded while it is trained."""

from typing import Any

import keras

from tailfit.arguments import checked_number
from tailfit.data import Batches
from tailfit.losses import ClassBalanced
from tailfit.stages.classifier import class_norms, classifier_of, train_alone
from tailfit.training.model import Model

__all__ = ["balance_classifier"]


def balance_classifier(
    model: Model,
    batches: Batches,
    *,
    epochs: int,
    threshold: float = 0.1,
    optimizer: Any = "adamw",
    loss: Any = None,
    head: Any = None,
    **fit: Any,
) -> Any:
    """Train the last layer alone, with a bound on the norm of each class' weights (weight balancing).

    The layer keeps its weights at the beginning. After every step, weights whose norm exceeds
    `n_min + threshold * (n_max - n_min)` are scaled down to it; n are the norms before this stage. The first stage
    should have a tuned weight decay, and so should the optimizer of this one: the authors use 0.005 and 0.1 with SGD.

    Args:
        model: Trained `tailfit.Model`.
        batches: Batches of the training data, usually as in the first stage.
        epochs: Number of epochs of this stage; the authors use 10 after 200.
        threshold: Position of the bound between the smallest and the largest norm, >= 0.
        optimizer, head: See `retrain_classifier`.
        loss: Loss of this stage, by default the authors': `ClassBalanced` with `beta=0.9999`, for logits.
        **fit: Further arguments of `fit`.
    Returns:
        The `History` of this stage.
    Raises:
        ArgumentError: If the last layer is not found or has no kernel, or a value is out of range.
    Source: Alshammari et al. 2022, arXiv:2203.14197, section 4, and the threshold of their code.

    >>> import keras, numpy as np, tailfit
    >>> x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 4 // 3
    >>> inputs = keras.Input((3,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
    >>> before = np.linalg.norm(model.get_weights()[0], axis=0)
    >>> history = balance_classifier(model, tailfit.Batches(tailfit.data.Arrays(x, y)), epochs=3, verbose=0)
    >>> bound = before.min() + 0.1 * (before.max() - before.min())
    >>> bool(np.all(np.linalg.norm(model.get_weights()[0], axis=0) <= bound + 1e-5))
    True
    """
    fix = "the authors use 0.1; with 1 only growth is prevented"
    threshold = checked_number(threshold, "threshold", fix=fix)
    layer = classifier_of(model, head)
    norms = class_norms(layer)
    bound = float(norms.min() + threshold * (norms.max() - norms.min()))
    loss = ClassBalanced(batches, beta=0.9999, from_logits=True) if loss is None else loss
    before, layer.kernel.constraint = layer.kernel.constraint, keras.constraints.MaxNorm(bound, axis=0)
    try:
        return train_alone(layer, model, batches, optimizer, loss, epochs=epochs, **fit)
    finally:
        layer.kernel.constraint = before
