"""Label over-smoothing: the classifier alone, trained with label smoothing near 1."""

from typing import Any

from tailfit.data import Batches
from tailfit.losses import CrossEntropy
from tailfit.stages.classifier import classifier_of, reinitialize, train_alone
from tailfit.training.model import Model

__all__ = ["smooth_classifier"]


def smooth_classifier(
    model: Model,
    batches: Batches,
    *,
    epochs: int,
    label_smoothing: float = 0.98,
    optimizer: Any = "adam",
    head: Any = None,
    from_logits: bool = True,
    **fit: Any,
) -> Any:
    """Re-initialise the last layer and train it alone with label smoothing near 1 (LOS).

    The target of the true class is `1 - d + d / C`, and `d / C` for each other class. As d approaches 1, all logits
    are pulled to nearly equal values, so that frequent classes cannot grow larger ones. Batches are drawn as the data
    are; class counts are not needed.

    Args:
        model: Trained `tailfit.Model`.
        batches: Batches of the training data, usually as in the first stage.
        epochs: Number of epochs of this stage.
        label_smoothing: d, in [0, 1]; the authors use 0.98 and 0.99.
        optimizer, head: See `retrain_classifier`.
        from_logits: Whether the model returns logits rather than probabilities.
        **fit: Further arguments of `fit`.
    Returns:
        The `History` of this stage.
    Raises:
        ArgumentError: If the last layer is not found or has no kernel, or a value is out of range.
    Source: Sun et al. 2025, "Rethinking classifier re-training in long-tailed recognition: label over-smooth can
        balance", ICLR.

    >>> import keras, numpy as np, tailfit
    >>> x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 4 // 3
    >>> inputs = keras.Input((3,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(4, name="features")(inputs)))
    >>> model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
    >>> batches = tailfit.Batches(tailfit.data.Arrays(x, y))
    >>> features = model.get_layer("features").get_weights()
    >>> history = smooth_classifier(model, batches, epochs=2, verbose=0)
    >>> bool(np.all(features[0] == model.get_layer("features").get_weights()[0]))
    True
    """
    layer = classifier_of(model, head)
    loss = CrossEntropy(label_smoothing=label_smoothing, from_logits=from_logits)
    reinitialize(layer)
    return train_alone(layer, model, batches, optimizer, loss, epochs=epochs, **fit)
