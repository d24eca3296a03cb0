"""Trainings for the tests of parts and workers, with features that could make results depend on the workers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

import tailfit

CLASSES = 4
Made = tuple[Any, Any, dict[str, Any]]  # a compiled model, training data, and further arguments of fit


def data(samples: int = 106, shape: tuple[int, ...] = (12,)) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, samples)
    x = rng.normal(size=(samples, *shape)) + y.reshape(-1, *[1] * len(shape)) / 2
    return x.astype("float32"), y, rng.uniform(0.2, 3.0, samples).astype("float32")


def batches(samples: int = 106, shape: tuple[int, ...] = (12,), size: int = 32, **kwargs: Any) -> Any:
    x, y, weights = data(samples, shape)
    if kwargs.pop("weighted", True):
        kwargs["sample_weight"] = weights
    return tailfit.Batches(tailfit.data.Arrays(x, y), size, seed=3, **kwargs)


def dense(parts: int, *, reduction: str = "sum_over_batch_size", optimizer: Any = None, **kwargs: Any) -> Any:
    keras.utils.set_random_seed(7)
    inputs = keras.Input((12,))
    hidden = keras.layers.Dense(16, activation="relu", kernel_regularizer="l2")(inputs)
    hidden = keras.layers.BatchNormalization()(hidden)
    hidden = keras.layers.Dropout(0.3, seed=11)(hidden)
    model = tailfit.Model(inputs, keras.layers.Dense(CLASSES)(hidden))
    loss = kwargs.pop("loss", None) or tailfit.losses.CrossEntropy(from_logits=True, reduction=reduction)
    optimizer = optimizer or keras.optimizers.Adam(1e-2)
    model.compile(optimizer, loss, weighted_metrics=["accuracy"], parts=parts, **kwargs)
    return model


def plain(parts: int) -> Made:
    held = batches(50)
    stop = keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True)
    slower = keras.callbacks.ReduceLROnPlateau(patience=1)
    return dense(parts), batches(), {"validation_data": held, "callbacks": [stop, slower], "epochs": 3}


def weighted(parts: int) -> Made:
    return dense(parts, reduction="mean_with_sample_weight"), batches(class_weight="balanced"), {}


def summed(parts: int) -> Made:
    return dense(parts, reduction="sum", steps_per_execution=2), batches(), {}


def short(parts: int) -> Made:
    """Train with a last batch of two samples, fewer than the pieces and the workers."""
    return dense(parts), batches(34), {}


def mixed(parts: int) -> Made:
    steps = [tailfit.steps.Mixup(alpha=0.4, seed=1), tailfit.steps.SAM(rho=0.05)]
    return dense(parts, steps=steps, reduction="mean_with_sample_weight"), batches(), {}


def robust(parts: int) -> Made:
    steps = [
        tailfit.steps.RDrop(alpha=1.0, from_logits=True),
        tailfit.steps.SmallLoss(forget_rate=0.2),
        tailfit.steps.ELR(from_logits=True),
        tailfit.steps.Accumulate(parts=2),
    ]
    return dense(parts, steps=steps), batches(weighted=False), {}


def counting(parts: int) -> Made:
    loss = tailfit.losses.Seesaw(from_logits=True)
    return dense(parts, loss=loss), batches(weighted=False), {}


def scheduled(parts: int) -> Made:
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9, use_ema=True, gradient_accumulation_steps=2
    )
    loss = tailfit.losses.Focal(from_logits=True, gamma=tailfit.schedules.Linear(0.0, 2.0, epochs=2))
    return dense(parts, optimizer=optimizer, loss=loss), batches(), {}


def frozen(parts: int) -> Made:
    model = dense(parts)
    model.layers[1].trainable = False
    model.compile("adam", model.loss, parts=parts)
    return model, batches(transform=_noisy), {}


def half(parts: int) -> Made:
    keras.utils.set_random_seed(7)
    with_half = keras.DTypePolicy("mixed_float16")
    inputs = keras.Input((12,))
    hidden = keras.layers.Dense(16, activation="relu", dtype=with_half)(inputs)
    model = tailfit.Model(inputs, keras.layers.Dense(CLASSES, dtype=with_half)(hidden))
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2), dynamic_growth_steps=3)
    model.compile(optimizer, tailfit.losses.CrossEntropy(from_logits=True), parts=parts)
    return model, batches(), {}


def masked(parts: int) -> Made:
    keras.utils.set_random_seed(7)
    x, y, _ = data(60, (5, 3))
    x[np.arange(5)[None, :] >= np.random.default_rng(1).integers(2, 6, 60)[:, None]] = 0.0
    targets = np.repeat(np.eye(CLASSES, dtype="float32")[y][:, None], 5, axis=1)
    inputs = keras.Input((5, 3))
    hidden = keras.layers.GRU(6, return_sequences=True, dropout=0.2, seed=3)(keras.layers.Masking()(inputs))
    model = tailfit.Model(inputs, keras.layers.Dense(CLASSES)(hidden))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], parts=parts)
    source = tailfit.data.Arrays(x, np.argmax(targets[:, 0], -1))

    def transform(batch: Any, rng: Any) -> Any:
        x, y = batch
        return x, np.repeat(np.eye(CLASSES, dtype="float32")[y][:, None], 5, axis=1)

    return model, tailfit.Batches(source, 32, seed=3, transform=transform), {}


def several(parts: int) -> Made:
    keras.utils.set_random_seed(7)
    one, two = keras.Input((12,), name="one"), keras.Input((12,), name="two")
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()([one, two]))
    outputs = {
        "cause": keras.layers.Dense(CLASSES, name="cause")(hidden),
        "size": keras.layers.Dense(1, name="size")(hidden),
    }
    model = tailfit.Model({"one": one, "two": two}, outputs)
    losses = {"cause": tailfit.losses.CrossEntropy(from_logits=True), "size": "mse"}
    model.compile("adam", losses, metrics={"cause": "accuracy"}, parts=parts)

    def transform(batch: Any, rng: Any) -> Any:
        x, y = batch
        return {"one": x, "two": x[:, ::-1].copy()}, {"cause": y, "size": x[:, :1]}

    return model, batches(weighted=False, transform=transform), {}


@keras.saving.register_keras_serializable(package="tests")
class Noise(tailfit.steps.Step):
    """A step with a generator, and a counter of its own."""

    def __init__(self) -> None:
        self.seed = keras.random.SeedGenerator(5)
        self.seen = keras.Variable(0, dtype="int32", trainable=False)

    def batch(self, model: Any, batch: Any) -> Any:
        self.seen.assign_add(ops.shape(batch.x)[0])
        return dataclasses.replace(
            batch, x=batch.x + keras.random.normal(ops.shape(batch.x), stddev=0.1, seed=self.seed)
        )


def custom(parts: int) -> Made:
    return dense(parts, steps=[Noise()]), batches(), {}


class WithInputs(tailfit.Model):
    """A model whose metrics use the inputs."""

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return {**super().compute_metrics(x, y, y_pred, sample_weight), "x": ops.sum(ops.convert_to_tensor(x))}


def inputs(parts: int) -> Made:
    keras.utils.set_random_seed(7)
    entry = keras.Input((12,))
    model = WithInputs(entry, keras.layers.Dense(CLASSES)(entry))
    model.compile("adam", tailfit.losses.CrossEntropy(from_logits=True), parts=parts)
    return model, batches(), {"validation_data": batches(50)}


def _noisy(batch: Any, rng: Any) -> Any:
    return (batch[0] + rng.normal(size=batch[0].shape).astype("float32"), *batch[1:])


CASES: dict[str, Callable[[int], Made]] = {
    function.__name__: function for function in (
        plain, weighted, summed, short, mixed, robust, counting, scheduled, frozen, half, masked, several, custom,
        inputs,
    )
}  # fmt: skip


def train(case: str, parts: int, directory: Any = None, callbacks: Any = ()) -> dict[str, Any]:
    """Run a training, and return its final weights, optimizer, state and history."""
    model, data, arguments = CASES[case](parts)
    arguments = {"epochs": 2, "verbose": 0, **arguments}
    if directory is not None:
        resume = tailfit.callbacks.Resume(directory, save_freq=2)
        arguments["callbacks"] = [*arguments.get("callbacks", ()), *callbacks, resume]
    history = model.fit(data, **arguments).history
    found = {f"history {name}": np.asarray(values, np.float64) for name, values in history.items()}
    held = [*model.variables, *(() if model.optimizer is None else model.optimizer.variables)]
    found.update((f"variable {n:03d}", np.asarray(ops.convert_to_numpy(v.value))) for n, v in enumerate(held))
    return found
