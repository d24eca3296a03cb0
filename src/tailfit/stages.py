"""Second stages: a trained network whose classifier is corrected for rare classes, its features left as they are.

Features learned on the data as it comes are good; what is skewed is the last layer (Kang et al. 2020). Each function is
one call on a trained model, and changes its last layer only:
- `retrain_classifier` (cRT): the layer begun anew and trained on class-balanced batches.
- `learn_scales` (LWS): one factor a class learned on class-balanced batches.
- `normalize_classifier` (tau-normalisation): weights divided by a power of their norm; nothing is trained.

The deferred remedies need no call of their own: they are a schedule of the first stage,
`Batches(class_weight=schedules.Deferred(...))` and `ClassBalanced(power=schedules.Deferred(...))`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import whole_number
from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.keras_private import layer_behind, leaf_layers
from tailfit.training.compiled import function
from tailfit.training.divisor import rows_of
from tailfit.training.gradients import value_and_grad
from tailfit.training.model import Model

__all__ = ["classifier_of", "inverse_norms", "learn_scales", "normalize_classifier", "retrain_classifier"]


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
    """Begin the last layer anew and train it alone on class-balanced batches (cRT).

    The other layers are frozen meanwhile (BatchNormalization keeps its statistics) and are as they were afterwards;
    the model stays compiled with `optimizer` and `loss`.

    Args:
        model: A trained `tailfit.Model`.
        batches: Class-balanced ones: `Batches(source, sampler=tailfit.samplers.ClassBalanced())`.
        epochs: Epochs of this stage; the authors use a tenth to a ninth of the first stage's.
        optimizer: Of this stage.
        loss: Of this stage; without it the one that the model is compiled with. On balanced batches a loss with
            class counts needs those of `batches`.
        head: The last layer, where the model is not functional and has not got it as its output.
        **fit: Further arguments of `fit`.
    Returns:
        The `History` of this stage.
    Raises:
        ArgumentError: the last layer can't be told or has no kernel; or the batches are not class-balanced.
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
    layer = classifier_of(model, head)
    _refuse_unbalanced(batches)
    layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape, dtype=layer.kernel.dtype))
    if layer.use_bias:
        layer.bias.assign(layer.bias_initializer(layer.bias.shape, dtype=layer.bias.dtype))
    with _only_trainable(model, layer):
        model.compile(optimizer, model.loss if loss is None else loss)
        return model.fit(batches, epochs=epochs, **fit)


def learn_scales(
    model: Model, batches: Batches, *, epochs: int, optimizer: Any = "adam", head: Any = None
) -> dict[str, list[float]]:
    """Learn one factor a class for the weights of the last layer on class-balanced batches (LWS).

    Everything else is kept, the layer's bias too; the factors are multiplied into the kernel, so that the model has the
    layers it had. The loss is the compiled one; metrics are left alone.

    Args:
        model, batches, epochs, optimizer, head: As for `retrain_classifier`.
    Returns:
        A dict of lists, "loss" with the mean loss of each epoch and "scales" with the factor of each class at the end.
    Raises:
        ArgumentError: as `retrain_classifier`.
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
    _refuse_unbalanced(batches)
    whole_number("epochs", epochs, least=1)
    optimizer = keras.optimizers.get(optimizer)
    learned = keras.Variable(np.array(ops.convert_to_numpy(layer.kernel)), trainable=False)  # torch would share it
    scales = keras.Variable(np.ones(layer.kernel.shape[-1], "float32"))
    mean = keras.metrics.Mean()

    @function
    def step(batch: Any) -> None:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        loss, (gradient,) = value_and_grad(
            lambda: model.compute_loss(x, y, model(x, training=False), sample_weight, training=False), [layer.kernel]
        )
        # The kernel is scales * learned, so by the chain rule the gradient of a scale sums over its column.
        optimizer.apply([ops.sum(gradient * learned, axis=0)], [scales])
        layer.kernel.assign(learned * scales)
        mean.update_state(loss, sample_weight=rows_of(x))

    losses = []
    for epoch in range(epochs):
        mean.reset_state()
        for batch in batches.iterate(epoch):
            step(batch)
        losses.append(float(mean.result()))
    return {"loss": losses, "scales": ops.convert_to_numpy(scales).tolist()}


def normalize_classifier(model: Model, *, tau: float = 1.0, head: Any = None) -> None:
    """Divide the last layer's weights of each class by their norm to the power `tau`, and drop its bias.

    Frequent classes grow large weights; 0 leaves them, 1 makes all norms one. The authors choose `tau` in [0, 1] on
    balanced validation data. The bias goes, as in the paper: it too says how frequent a class was.

    Args:
        model: A trained model.
        tau: Power, >= 0.
        head: As for `retrain_classifier`.
    Raises:
        ArgumentError: for a negative `tau`; or the last layer can't be told or has no kernel.
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
    """Each class' norm of weights to the power `-tau`, `float64[C]`.

    Raises:
        ArgumentError: for a negative `tau`.
    """
    if not isinstance(tau, int | float) or isinstance(tau, bool) or not 0 <= tau < float("inf"):
        raise ArgumentError(
            f"tau={tau!r}", expected="a finite number >= 0", fix="choose it in [0, 1] on validation data"
        )
    norms = np.linalg.norm(ops.convert_to_numpy(layer.kernel).astype(np.float64), axis=0)
    return np.where(norms > 0, norms, 1.0) ** -tau  # a class without weights has none to scale


def classifier_of(model: keras.Model, head: Any) -> Any:
    """The last layer: given, or behind the one output of a functional model."""
    outputs = getattr(model, "outputs", None) or []
    layer = head if head is not None else layer_behind(outputs[0]) if len(outputs) == 1 else None
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        layer = layer_behind(layer.input)
    if isinstance(layer, keras.layers.Dense) and layer.built and layer in leaf_layers(model):
        return layer
    raise ArgumentError(
        f"a model whose last layer is {'not to be told' if layer is None else repr(layer)}",
        expected="one built keras.layers.Dense of the model at its end, an activation layer after it or not",
        fix="pass head=model.get_layer(...), the Dense layer that gives the class scores",
    )


def _refuse_unbalanced(batches: Any) -> None:
    received = f"{batches.sampler!r}" if isinstance(batches, Batches) else f"batches of type {type(batches).__name__}"
    if not isinstance(batches, Batches) or not batches.sampler.by_class:
        raise ArgumentError(
            received,
            expected="Batches that draw by class: this stage is to see all classes equally often",
            fix="pass Batches(source, sampler=tailfit.samplers.ClassBalanced())",
        )


@contextmanager
def _only_trainable(model: keras.Model, layer: Any) -> Iterator[None]:
    layers = leaf_layers(model)
    before = [(each, each.trainable) for each in layers]
    try:
        for each in layers:
            each.trainable = each is layer
        yield
    finally:
        for each, trainable in before:
            each.trainable = trainable
