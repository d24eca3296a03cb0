"""Small runs to be killed and resumed; together they use everything that keeps state in a training.

Each is a function `(folder) -> (model, fit's arguments)` that builds everything anew, as a script does.
"""

import csv
import json
import random
from pathlib import Path

import keras
import numpy as np

import tailfit
from tailfit import losses, samplers, schedules, steps

EPOCHS = 3
rng = np.random.default_rng(5)
X = rng.normal(size=(46, 6)).astype("float32")
Y = (rng.integers(0, 9, 46) // 4).astype("int64")  # class 2 is rare


def seeded():
    """Seed all generators; `keras.utils.set_random_seed` imports TensorFlow on every backend."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(1)


def batches(size=8, **options):
    return tailfit.Batches(tailfit.data.Arrays(X, Y), size, seed=3, **options)


def compiled(model, optimizer=None, loss=None, metrics=("accuracy",), **options):
    loss = losses.CrossEntropy(from_logits=True) if loss is None else loss
    model.compile(optimizer or keras.optimizers.Adam(0.02), loss, metrics=list(metrics), **options)
    return model


def dense(**options):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(5, activation="relu")(inputs))
    return compiled(tailfit.Model(inputs, keras.layers.Dense(3)(hidden)), **options)


class Counter(keras.callbacks.Callback):
    """A user's callback without `get_state`, whose state is found by comparison."""

    def __init__(self):
        super().__init__()
        self.names, self.epochs, self.seen = ("loss",), 0, np.zeros(2)

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs += 1

    def on_train_batch_begin(self, batch, logs=None):
        self.seen[0] += batch

    def on_epoch_end(self, epoch, logs=None):
        self.seen[1] += logs["loss"]


def everything(folder):
    """Dropout, augmentation, BatchNormalization, EMA, schedules, a progressive sampler, callbacks and logs."""
    inputs = keras.Input((6,))
    hidden = keras.layers.GaussianNoise(0.1)(keras.layers.Dense(5)(inputs))
    hidden = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization()(hidden))
    model = compiled(
        tailfit.Model(inputs, keras.layers.Dense(3)(hidden)),
        keras.optimizers.Adam(0.02, use_ema=True, ema_overwrite_frequency=5),
        losses.Focal(gamma=schedules.Linear(0.0, 2.0, epochs=EPOCHS), from_logits=True),
        ["accuracy", tailfit.metrics.BalancedAccuracy()],
    )
    callbacks = [
        keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=10.0, factor=0.5),
        keras.callbacks.ModelCheckpoint(
            f"{folder}/best.weights.h5", monitor="loss", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.CSVLogger(f"{folder}/log.csv"),
        Counter(),
    ]
    return model, {
        "x": batches(sampler=samplers.Progressive(epochs=EPOCHS), class_weight="balanced"),
        "validation_data": (X[:9], Y[:9]),
        "callbacks": callbacks,
    }


def fused(folder):
    """Several steps per execution, and a step that draws random numbers."""
    return dense(steps_per_execution=2, steps=[steps.Mixup(alpha=0.4)]), {"x": batches()}


def accumulated(folder):
    """Gradient accumulation over steps, and sample weights."""
    model = dense(optimizer=keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=3))
    return model, {"x": batches(sampler=samplers.Bootstrap(), sample_weight=np.linspace(0.5, 2, 46))}


def float16(folder):
    """Mixed precision, whose loss scale is state."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.02), initial_scale=2.0**14, dynamic_growth_steps=4
        )
        return dense(optimizer=optimizer), {"x": batches()}  # fmt: skip
    finally:
        keras.config.set_dtype_policy(before)


def transformed(folder):
    """Batches that a transform changes at random, with NumPy and Keras."""

    def change(batch, rng):
        drawn = keras.ops.convert_to_numpy(keras.random.normal(batch[0].shape))
        return (batch[0] + 0.1 * drawn + rng.normal(size=batch[0].shape).astype("float32"), *batch[1:])

    return dense(), {"x": batches(transform=change)}


def arrays(folder):
    """Arrays as the data of `fit`."""
    return dense(), {"x": X, "y": Y, "batch_size": 8, "class_weight": {0: 1.0, 1: 2.0, 2: 3.0}}


class TwoOptimizers(tailfit.Model):
    """A model with a second optimizer, built in its first step, and a variable that only an attribute refers to."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.second = keras.optimizers.Adam(0.01)
        self.notes = [keras.Variable(0.0, trainable=False)]

    def train_step(self, data):
        x, y = data

        def forward():
            y_pred = self(x, training=True)
            return self.compute_loss(x, y, y_pred), y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, self.trainable_variables)
        half = len(gradients) // 2
        self.optimizer.apply(gradients[:half], self.trainable_variables[:half])
        self.second.apply(gradients[half:], self.trainable_variables[half:])
        self.notes[0].assign_add(loss)
        return self.update_metrics(loss, x, y, y_pred)


def own_step(folder):
    """A custom training step."""
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(5, activation="relu")(inputs))
    model = TwoOptimizers(inputs, keras.layers.Dense(3)(hidden))
    return compiled(model), {"x": batches()}


RUNS = {
    run.__name__: run for run in (everything, fused, accumulated, float16, transformed, arrays, own_step)
}  # fmt: skip


def run(name, folder, *others, epochs=EPOCHS, save_freq=1, fit=None, **options):
    """Complete a run, and return its outcome: all arrays by name, and the history and log as text.

    Args:
        others: Further callbacks, after those of the run.
        fit: Further arguments of `fit`.
    """
    seeded()
    folder = Path(folder)
    model, call = RUNS[name](folder)
    call |= fit or {}
    resume = tailfit.callbacks.Resume(folder / "run", save_freq=save_freq, **options)
    kept = call.pop("callbacks", [])
    try:
        history = model.fit(epochs=epochs, callbacks=[resume, *kept, *others], verbose=0, **call)
    finally:
        for callback in kept:
            if getattr(callback, "csv_file", None) is not None:
                callback.csv_file.close()  # a real kill does
    return outcome(model, history, kept, folder)


def run_with_backup(name, folder, *others, epochs=EPOCHS, save_freq=2):
    """Complete a run with Keras' BackupAndRestore instead, for comparison."""
    seeded()
    folder = Path(folder)
    model, call = RUNS[name](folder)
    kept = call.pop("callbacks", [])
    backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq, delete_checkpoint=False)
    history = model.fit(epochs=epochs, callbacks=[backup, *kept, *others], verbose=0, **call)
    return outcome(model, history, kept, folder)


def outcome(model, history, callbacks, folder):
    numbers = {f"weight {i}": value for i, value in enumerate(model.get_weights())}
    numbers |= {f"optimizer {i}": value for i, value in enumerate(as_numpy(model.optimizer.variables))}
    numbers |= {f"metric {i}": value for i, value in enumerate(as_numpy(model.metrics_variables))}
    for name in ("second", "notes"):
        kept = getattr(model, name, None)
        variables = kept.variables if hasattr(kept, "variables") else kept or []
        numbers |= {f"{name} {i}": value for i, value in enumerate(as_numpy(variables))}
    for callback in callbacks:
        for attribute in ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "epochs", "seen"):
            if isinstance(vars(callback).get(attribute), int | float | np.ndarray):
                numbers[f"{type(callback).__name__}.{attribute}"] = np.asarray(vars(callback)[attribute])
    logged = {"history": history.history, "epoch": history.epoch}
    if (folder / "log.csv").exists():
        logged["log"] = list(csv.reader((folder / "log.csv").read_text().splitlines()))
    if (folder / "best.weights.h5").exists():
        best = keras.models.clone_model(model)
        best.load_weights(folder / "best.weights.h5")
        numbers |= {f"best weight {i}": value for i, value in enumerate(best.get_weights())}
    return {name: np.asarray(value) for name, value in numbers.items()}, json.dumps(logged)


def as_numpy(variables):
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
