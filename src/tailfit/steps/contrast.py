"""Balanced contrastive learning: features of one class close together, with every class counted alike."""

from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from tailfit.arguments import checked_number, whole_number
from tailfit.errors import ArgumentError, StepError
from tailfit.hyperparameters import as_scheduled, config_of, value_of
from tailfit.keras_private import call_model
from tailfit.layers.cosine import unit_vectors
from tailfit.schedules import Schedule
from tailfit.steps.classes import by_class
from tailfit.steps.classifiers import classifier_of, inputs_of
from tailfit.steps.sample_losses import reduced, refuse_mixed
from tailfit.steps.tensors import as_floats, checked_seed, map_arrays
from tailfit.training.step import Batch, Forward, Step, unreported

__all__ = ["BCL", "balanced_contrast"]


@keras.saving.register_keras_serializable(package="tailfit")
class BCL(Step):
    """Adds `weight` times the balanced contrastive loss of two random views of each record (BCL).

    With projections z of length 1 of both views, and one prototype per class, the loss of a view i of class y is the
    mean of `-log(exp(z_i z_p / t) / sum_c mean_{j of c} exp(z_i z_j / t))` over all p of class y. Each class counts in
    the sum by its mean (class-averaging), and the prototypes make every class present in every batch
    (class-complement). The loss of a sample is the mean of its two views; it is weighted and reduced like the loss. Use
    it with a loss that corrects for the class shares: the authors use `LogitAdjusted`.

    The projection is `Dense(hidden, relu)`, `Dense(units)` on the input of the last layer, and another one of the same
    form turns that layer's weights into prototypes. Both are variables of this step: they are trained with the model
    and saved in the checkpoints of `Resume`, but the model is saved and served without them. The authors have batch
    normalization in the projections, and three views, of which the first is for the classifier; here the classifier
    sees the batch as it is. In a training by `parts`, views are compared within a part. A step takes three passes.

    Args:
        weight: Weight of the contrastive loss, >= 0; may follow a schedule. The authors use 0.35.
        temperature: t, > 0. The authors use 0.1 and 0.07.
        units: Number of dimensions of the projections.
        hidden: Width of the hidden layer; by default that of the features.
        jitter: Standard deviation of the noise in a view, in standard deviations of the channel (the last axis) over
            the batch.
        scaling: Standard deviation of the factors around 1, one for each channel of a record.
        views: Layer that makes a view of a batch of records, in place of `jitter` and `scaling`: for images, layers
            such as `keras.layers.RandomTranslation`.
        seed: Seed of the views and of the initial projections.
    Shapes: float inputs `(batch, ...)`; a functional model whose last layer is `Dense` or `CosineDense` on features
        `(batch, features)`; class indices or one-hot labels.
    Raises:
        ArgumentError: If a value is out of range.
        StepError: If the model has another last layer; at the first step, if inputs are not floats, or samples are
            mixed.
    Source: Zhu et al. 2022, arXiv:2207.09052, section 3, and their code.

    >>> import keras, numpy as np, tailfit
    >>> inputs = keras.Input((4,))
    >>> model = tailfit.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(8, activation="relu")(inputs)))
    >>> loss = tailfit.losses.LogitAdjusted([100, 10, 1], from_logits=True)
    >>> model.compile("sgd", loss, steps=[tailfit.steps.BCL(units=2, seed=0)])
    >>> history = model.fit(np.ones((6, 4)), np.arange(6) % 3, verbose=0)
    >>> len(model.trainable_variables), len(model.weights)
    (12, 4)
    """

    def __init__(
        self,
        *,
        weight: float | Schedule = 0.35,
        temperature: float = 0.1,
        units: int = 128,
        hidden: int | None = None,
        jitter: float = 0.1,
        scaling: float = 0.1,
        views: keras.layers.Layer | None = None,
        seed: int | None = None,
    ) -> None:
        self.weight = as_scheduled(weight, _checked_weight, name="weight", dtype=None)
        self.temperature = checked_number(temperature, "temperature", above=0.0, fix="the authors use 0.1")
        self.units = whole_number("units", units, least=1)
        self.hidden = None if hidden is None else whole_number("hidden", hidden, least=1)
        self.jitter = checked_number(jitter, "jitter", fix="pass 0.1, for example; 0 adds no noise")
        self.scaling = checked_number(scaling, "scaling", fix="pass 0.1, for example; 0 keeps the scale")
        if views is not None and not isinstance(views, keras.layers.Layer):
            raise ArgumentError(
                f"views of type {type(views).__name__}",
                expected="a Keras layer that changes records at random",
                fix="pass keras.layers.GaussianNoise(0.1) or a keras.Sequential, for example",
            )
        self.views = views
        self.seed = checked_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)
        self._projections: dict[str, list[Any]] = {}

    def prepare(self, model: keras.Model) -> None:
        features, _ = classifier_of(model, "BCL").kernel.shape
        sizes = [features, self.hidden or features, self.units]
        self._projections = {name: self._projection(name, sizes) for name in ("features", "prototypes")}

    def _projection(self, name: str, sizes: list[int]) -> list[Any]:
        variables = []
        for number, shape in enumerate(pairwise(sizes)):
            seed = None if self.seed is None else self.seed + number + 2 * (name == "prototypes")
            kernel = keras.initializers.GlorotUniform(seed=seed)
            for kind, initializer, size in (("kernel", kernel, shape), ("bias", "zeros", shape[1:])):
                full = f"{name}_{kind}_{number}"
                variables.append(keras.Variable(initializer, shape=size, dtype="float32", autocast=False, name=full))
        return variables

    @property
    def trainable_variables(self) -> list[Any]:
        return [variable for variables in self._projections.values() for variable in variables]

    def forward(self, model: keras.Model, forward: Forward, batch: Batch) -> tuple[Any, Any]:
        value, y_pred = forward(batch)
        refuse_mixed(batch, "BCL")
        layer = classifier_of(model, "BCL")
        views = map_arrays(lambda *both: ops.concatenate(both), self._view(batch.x), self._view(batch.x))
        with unreported(), inputs_of(layer) as seen:
            call_model(model, views, training=True)
        features = seen[-1]
        if len(features.shape) != 2:
            raise StepError(
                f"features of shape {tuple(features.shape)} for the step BCL",
                expected="one vector for each record, (batch, features)",
                fix="pool or flatten the features before the last layer, or drop BCL from steps=",
            )
        prototypes = self._projected("prototypes", ops.transpose(layer.kernel))
        labels = _one_hot(batch.targets[0].y, layer.kernel.shape[1])
        values = balanced_contrast(self._projected("features", features), labels, prototypes, self.temperature)
        added = reduced(model, batch, y_pred, values)
        return value + value_of(self.weight) * ops.cast(added, value.dtype), y_pred

    def _view(self, inputs: Any) -> Any:
        if self.views is not None:
            return self.views(inputs, training=True)
        return map_arrays(self._changed, inputs)

    def _changed(self, x: Any) -> Any:
        x = as_floats(x, purpose="changes")
        wide = ops.cast(x, "float32")
        ones = [1] * (len(x.shape) - 2)
        factors = 1 + self.scaling * keras.random.normal((ops.shape(x)[0], *ones, x.shape[-1]), seed=self.generator)
        noise = self.jitter * _spread(wide) * keras.random.normal(ops.shape(x), seed=self.generator)
        return ops.cast(wide * factors + noise, x.dtype)

    def _projected(self, name: str, vectors: Any) -> Any:
        first, first_bias, second, second_bias = self._projections[name]
        hidden = ops.relu(ops.matmul(ops.cast(vectors, "float32"), first) + first_bias)
        return unit_vectors(ops.matmul(hidden, second) + second_bias, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "weight": config_of(self.weight),
            "temperature": self.temperature,
            "units": self.units,
            "hidden": self.hidden,
            "jitter": self.jitter,
            "scaling": self.scaling,
            "views": None if self.views is None else keras.saving.serialize_keras_object(self.views),
            "seed": self.seed,
        }


def balanced_contrast(views: Any, labels: Any, prototypes: Any, temperature: float) -> Any:
    """Return the balanced contrastive loss of each sample, `(batch,)`.

    Args:
        views: Vectors of length 1 of all first views, followed by those of all second views, `(2 * batch, d)`.
        labels: One-hot labels, `(batch, C)`.
        prototypes: One vector of length 1 per class, `(C, d)`.
        temperature: Divisor of the products.

    >>> vectors = ops.convert_to_tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> values = balanced_contrast(vectors, ops.eye(2)[:1], ops.eye(2), 1.0)
    >>> round(float(values[0]), 4), round(float(np.log(1 + np.exp(-1))), 4)
    (0.3133, 0.3133)
    """
    everything = ops.concatenate([views, prototypes])
    anchors = ops.concatenate([labels, labels])
    classes = ops.concatenate([anchors, ops.eye(labels.shape[1])])
    rows, columns = ops.arange(ops.shape(anchors)[0]), ops.arange(ops.shape(classes)[0])
    other = ops.cast(ops.not_equal(ops.expand_dims(rows, 1), ops.expand_dims(columns, 0)), "float32")
    positive = ops.matmul(anchors, ops.transpose(classes)) * other
    # Of the anchor's own class one less is averaged: the anchor itself is left out.
    averaged = ops.expand_dims(ops.matmul(classes, ops.sum(classes, axis=0)), 0) - positive
    products = ops.matmul(views, ops.transpose(everything)) / temperature
    lowest = float(np.finfo("float32").min) / 2
    terms = ops.where(other > 0, products - ops.log(ops.maximum(averaged, 1.0)), lowest)
    logs = products - ops.logsumexp(terms, axis=1, keepdims=True)
    values = -ops.sum(positive * logs, axis=1) / ops.maximum(ops.sum(positive, axis=1), 1.0)
    return ops.mean(ops.reshape(values, (2, -1)), axis=0)


def _one_hot(y: Any, classes: int) -> Any:
    """Return the class of each sample as one-hot, float32; zeros for labels that are not class indices."""
    # From 1 on, because labels that are not class indices give 0.
    numbers = tuple(range(1, classes + 1))
    own = ops.expand_dims(by_class(numbers, y), -1)
    return ops.cast(ops.equal(own, ops.convert_to_tensor(numbers, dtype="float32")), "float32")


def _spread(x: Any) -> Any:
    """Return the standard deviation of each channel over its finite readings, without gradient."""
    axes = tuple(range(len(x.shape) - 1))
    known = ops.cast(ops.isfinite(x), "float32")
    count = ops.maximum(ops.sum(known, axis=axes), 1.0)
    values = ops.where(known > 0, x, 0.0)
    mean = ops.sum(values, axis=axes) / count
    return ops.sqrt(ops.sum(known * ops.square(values - mean), axis=axes) / count)


def _checked_weight(weight: Any) -> Any:
    return checked_number(weight, "weight", fix="the authors use 0.35; 0 switches the contrastive loss off")
