"""Retraining, scaling and normalising the last layer of a trained network (Kang et al. 2020)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import whole_number
from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.keras_private import layer_behind, leaf_layers
from tailfit.layers import CosineDense
from tailfit.training.compiled import function
from tailfit.training.divisor import rows_of
from tailfit.training.gradients import value_and_grad
from tailfit.training.model import Model

__all__ = [
    "check_tau",
    "class_norms",
    "classifier_of",
    "inverse_norms",
    "learn_scales",
    "normalize_classifier",
    "refuse_unbalanced",
    "reinitialize",
    "retrain_classifier",
    "train_alone",
    "train_scales",
]


def retrain_classifier(
    model: Model,
    batches: Batches,
    *,
    epochs: int,
    optimizer: Any = "adam",
    loss: Any = None,
    head: Any = None,
    **fit: Any,
) -> Any:
    """Re-initialise the last layer and train it alone on class-balanced batches (cRT).

    The other layers are frozen during this stage (BatchNormalization keeps its statistics), and trainable again after
    it. The model stays compiled with `optimizer` and `loss`.

    Args:
        model: Trained `tailfit.Model`.
        batches: Class-balanced batches: `Batches(source, sampler=tailfit.samplers.ClassBalanced())`.
        epochs: Number of epochs of this stage; the authors use about a tenth of the first stage.
        optimizer: Optimizer of this stage.
        loss: Loss of this stage; the compiled loss by default. A loss with class counts needs those of `batches`.
        head: The last layer, a `Dense` or `tailfit.layers.CosineDense`; required if it cannot be found from the output
            of a functional model.
        **fit: Further arguments of `fit`.
    Returns:
        The `History` of this stage.
    Raises:
        ArgumentError: If the last layer is not found or is another one, or the batches are not class-balanced.
    Source: Kang et al. 2020, arXiv:1910.09217, section 4.1 (cRT).

    >>> import tailfit
    >>> x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 4 // 3
    >>> inputs = keras.Input((3,))
    >>> hidden = keras.layers.Dense(4, activation="relu", name="features")(inputs)
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(hidden))
    >>> model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
    >>> history = model.fit(x, y, verbose=0)
    >>> features = model.get_layer("features").get_weights()
    >>> balanced = tailfit.Batches(tailfit.data.Arrays(x, y), sampler=tailfit.samplers.ClassBalanced())
    >>> history = retrain_classifier(model, balanced, epochs=2, verbose=0)
    >>> len(history.history["loss"]), bool(np.all(features[0] == model.get_layer("features").get_weights()[0]))
    (2, True)
    """
    layer = classifier_of(model, head, cosine=True)
    refuse_unbalanced(batches)
    reinitialize(layer)
    return train_alone(layer, model, batches, optimizer, model.loss if loss is None else loss, epochs=epochs, **fit)


def learn_scales(
    model: Model, batches: Batches, *, epochs: int, optimizer: Any = "adam", head: Any = None
) -> dict[str, list[float]]:
    """Learn one factor per class for the weights of the last layer, on class-balanced batches (LWS).

    All other weights, and the layer's bias, are unchanged. The factors are multiplied into the kernel, so the model
    keeps its layers. The loss is the compiled loss; metrics are not updated.

    Args:
        model, batches, epochs, optimizer, head: See `retrain_classifier`.
    Returns:
        A dict of lists: "loss" with the mean loss of each epoch, and "scales" with the final factor of each class.
    Raises:
        ArgumentError: See `retrain_classifier`.
    Source: Kang et al. 2020, arXiv:1910.09217, section 4.1 (learnable weight scaling).

    >>> import tailfit
    >>> x, y = np.random.default_rng(0).normal(size=(40, 3)).astype("float32"), np.arange(40) % 4 // 3
    >>> inputs = keras.Input((3,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True))
    >>> balanced = tailfit.Batches(tailfit.data.Arrays(x, y), sampler=tailfit.samplers.ClassBalanced())
    >>> history = learn_scales(model, balanced, epochs=2)
    >>> len(history["loss"]), len(history["scales"])
    (2, 2)
    """
    layer = classifier_of(model, head)
    refuse_unbalanced(batches)
    whole_number("epochs", epochs, least=1)
    optimizer = keras.optimizers.get(optimizer)
    learned = keras.Variable(
        np.array(ops.convert_to_numpy(layer.kernel)), trainable=False
    )  # a copy: torch shares memory
    scales = keras.Variable(np.ones(layer.kernel.shape[-1], "float32"))
    mean = keras.metrics.Mean()

    @function
    def step(batch: Any) -> None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        loss, (gradient,) = value_and_grad(
            lambda: model.compute_loss(x, y, model(x, training=False), sample_weight, training=False), [layer.kernel]
        )
        # The kernel is scales * learned. By the chain rule, the gradient of a scale is a sum over its column.
        optimizer.apply([ops.sum(gradient * learned, axis=0)], [scales])
        layer.kernel.assign(learned * scales)
        mean.update_state(loss, sample_weight=rows_of(x))

    return train_scales(scales, step, mean, batches, epochs)


def normalize_classifier(model: Model, *, tau: float = 1.0, head: Any = None) -> None:
    """Divide the last layer's weights of each class by their norm to the power `tau`, and drop its bias.

    Frequent classes have larger weights. With `tau=0` they are unchanged, with `tau=1` all norms become one; the
    authors choose `tau` in [0, 1] on balanced validation data. As in the paper the bias is dropped, since it also
    reflects class frequencies.

    Args:
        model: Trained model.
        tau: Exponent, >= 0.
        head: See `retrain_classifier`.
    Raises:
        ArgumentError: If `tau` is negative, or the last layer is not found or has no kernel.
    Source: Kang et al. 2020, arXiv:1910.09217, eq. 3.

    >>> import tailfit
    >>> inputs = keras.Input((2,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
    >>> model.layers[-1].set_weights([np.array([[3.0, 0.0], [4.0, 2.0]]), np.ones(2)])
    >>> normalize_classifier(model, tau=1.0)
    >>> [[round(float(value), 4) for value in row] for row in model.layers[-1].get_weights()[0]]
    [[0.6, 0.0], [0.8, 1.0]]
    """
    layer = classifier_of(model, head)
    layer.kernel.assign(ops.convert_to_numpy(layer.kernel) * inverse_norms(layer, tau))
    if layer.use_bias:
        layer.bias.assign(np.zeros(layer.bias.shape))


def inverse_norms(layer: Any, tau: float) -> Any:
    """Return the norm of the weights of each class to the power `-tau`, `float64[C]`.

    Raises:
        ArgumentError: If `tau` is negative.

    >>> layer = keras.layers.Dense(2, use_bias=False)
    >>> layer.build((None, 1))
    >>> layer.set_weights([np.array([[2.0, -4.0]])])
    >>> inverse_norms(layer, tau=1.0).tolist()
    [0.5, 0.25]
    """
    check_tau(tau)
    norms = class_norms(layer)
    return np.where(norms > 0, norms, 1.0) ** -tau  # a norm of 0 stays 0


def class_norms(layer: Any) -> Any:
    """Return the norm of the weights of each class, `float64[C]`."""
    return np.linalg.norm(ops.convert_to_numpy(layer.kernel).astype(np.float64), axis=0)


def check_tau(tau: Any) -> None:
    """Check the exponent of tau-normalisation.

    Raises:
        ArgumentError: If it is not a finite number >= 0.
    """
    if not isinstance(tau, int | float) or isinstance(tau, bool) or not 0 <= tau < float("inf"):
        raise ArgumentError(
            f"tau={tau!r}", expected="a finite number >= 0", fix="choose it in [0, 1] on validation data"
        )


def classifier_of(model: keras.Model, head: Any, *, cosine: bool = False) -> Any:
    """Return the last layer: `head`, or the layer behind the only output of a functional model.

    Args:
        model: A built model.
        head: The last layer, or None to find it.
        cosine: Whether the layer may also be a `CosineDense`.
    Raises:
        ArgumentError: If the layer is not found, or is not a built `keras.layers.Dense` of the model.

    >>> inputs = keras.Input((3,))
    >>> model = keras.Model(inputs, keras.layers.Softmax()(keras.layers.Dense(2, name="head")(inputs)))
    >>> classifier_of(model, None).name
    'head'
    """
    outputs = getattr(model, "outputs", None) or []
    layer = head if head is not None else layer_behind(outputs[0]) if len(outputs) == 1 else None
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        layer = layer_behind(layer.input)
    kinds = (keras.layers.Dense, CosineDense) if cosine else (keras.layers.Dense,)
    if isinstance(layer, kinds) and layer.built and layer in leaf_layers(model):
        return layer
    names = " or ".join(f"{kind.__name__} layer" for kind in kinds)
    raise ArgumentError(
        "a model whose last layer is not known" if layer is None else f"a model whose last layer is {layer!r}",
        expected=f"a built {names} of the model as its last layer, apart from an activation layer after it",
        fix="pass head=model.get_layer(...), the layer that returns the class scores",
    )


def reinitialize(layer: Any) -> None:
    """Assign new initial weights to a `Dense` or `CosineDense` layer."""
    layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape, dtype=layer.kernel.dtype))
    if getattr(layer, "use_bias", False):
        layer.bias.assign(layer.bias_initializer(layer.bias.shape, dtype=layer.bias.dtype))


def refuse_unbalanced(batches: Any) -> None:
    """Refuse batches that are not class-balanced.

    Raises:
        ArgumentError: If no sampler draws by class.
    """
    received = f"{batches.sampler!r}" if isinstance(batches, Batches) else f"batches of type {type(batches).__name__}"
    if not isinstance(batches, Batches) or not batches.sampler.by_class:
        raise ArgumentError(
            received,
            expected="Batches whose sampler draws by class, so that this stage sees all classes equally often",
            fix="pass Batches(source, sampler=tailfit.samplers.ClassBalanced())",
        )


def train_alone(layer: Any, model: Model, batches: Batches, optimizer: Any, loss: Any, **fit: Any) -> Any:
    """Compile a model, train one layer while all others are frozen, and return the `History`."""
    with _only_trainable(model, layer):
        model.compile(optimizer, loss)
        return model.fit(batches, **fit)


def train_scales(
    scales: keras.Variable, step: Callable[[Any], None], mean: keras.metrics.Metric, batches: Batches, epochs: int
) -> dict[str, list[float]]:
    """Train factors of the classes, and return the mean loss of each epoch, and the final factors.

    Args:
        scales: The factors, which `step` changes.
        step: Function that trains on a batch, and updates `mean` with its loss.
        mean: Mean loss of the epoch.
        batches, epochs: See `learn_scales`.
    """
    losses = []
    for epoch in range(epochs):
        mean.reset_state()
        for batch in batches.iterate(epoch):
            step(batch)
        losses.append(float(mean.result()))
    return {"loss": losses, "scales": ops.convert_to_numpy(scales).tolist()}


@contextmanager
def _only_trainable(model: keras.Model, layer: Any) -> Iterator[None]:
    """Freeze all layers but one, within this context."""
    layers = leaf_layers(model)
    before = [(each, each.trainable) for each in layers]
    try:
        for each in layers:
            each.trainable = each is layer
        yield
    finally:
        for each, trainable in before:
            each.trainable = trainable
