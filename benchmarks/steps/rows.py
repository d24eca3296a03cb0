"""The rows that run on Keras: built-in fit, `tailfit.Model.fit` and the `tailfit.function` loop."""

import time
from typing import Any

import keras
from keras import layers, ops
from networks import ALPHA, BATCH, CLASSES, Epoch, Job

import tailfit


def build(job: Job, model: type[keras.Model]) -> keras.Model:
    inputs = keras.Input(job.network.shape)
    outputs, space = inputs, len(job.network.shape) - 1
    for kind, *sizes in job.network.layers:
        if kind == "dense":
            outputs = layers.Dense(sizes[0], activation="relu")(outputs)
        elif kind == "conv":
            convolution = (layers.Conv1D, layers.Conv2D)[space - 1]
            outputs = convolution(*sizes, activation="relu")(outputs)
        elif kind == "pool":
            outputs = (layers.MaxPooling1D, layers.MaxPooling2D)[space - 1](2)(outputs)
        else:
            outputs = (layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)[space - 1]()(outputs)
    made = model(inputs, layers.Dense(CLASSES)(outputs))
    made.set_weights(job.network.weights())
    return made


class MixupByHand(keras.Model):
    """Mixup as one writes it into Keras' own step: the batch mixed with itself in reverse, the loss of both labels."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mixing = keras.random.SeedGenerator(1)

    def train_step(self, *args: Any) -> Any:
        *state, (x, y) = args
        if not state:
            share = keras.random.beta((), ALPHA, ALPHA, seed=self.mixing)
        else:  # JAX: the seed's own state goes in and out
            weights, others, *rest = state[0]
            with keras.StatelessScope(list(zip(self.non_trainable_variables, others, strict=True))) as scope:
                share = keras.random.beta((), ALPHA, ALPHA, seed=self.mixing)
            others = [scope.get_current_value(variable) for variable in self.non_trainable_variables]
            state = [(weights, others, *rest)]
        mixed = share * x + (1 - share) * ops.flip(x, axis=0)
        return super().train_step(*state, (mixed, {"first": y, "second": ops.flip(y, axis=0), "share": share}))

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(y, dict):  # Keras builds the metrics with a batch of its own
            return super().compute_loss(x, y, y_pred, *args, **kwargs)
        first, second = (super(MixupByHand, self).compute_loss(x, y[key], y_pred) for key in ("first", "second"))
        return y["share"] * first + (1 - y["share"]) * second

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return super().compute_metrics(x, y["first"] if isinstance(y, dict) else y, y_pred)


class _Clock(keras.callbacks.Callback):
    """Times the epoch alone: what fit does once, before the first one, is a part of the first call."""

    seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.began


def fit(job: Job, model: type[keras.Model], k: int, through_batches: bool = False, device: bool = False) -> Epoch:
    made = build(job, model)
    options: dict[str, Any] = {"steps_per_execution": k}
    if job.mixup:
        options["metrics"] = [keras.metrics.SparseCategoricalAccuracy()]
        if issubclass(model, tailfit.Model):
            options["steps"] = [tailfit.steps.Mixup(alpha=ALPHA)]
    optimizer = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}[job.optimizer](1e-3)
    made.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    clock = _Clock()

    def epoch(count: int, shuffle: bool) -> tuple[float, float]:
        if not through_batches:
            given = {"x": job.x[:count], "y": job.y[:count], "batch_size": BATCH, "shuffle": shuffle}
        else:
            sampler = tailfit.samplers.Shuffle() if shuffle else tailfit.samplers.Sequential()
            source = tailfit.data.Arrays(job.x[:count], job.y[:count])
            given = {"x": tailfit.Batches(source, BATCH, sampler, device=device)}
        # The samples move to the device in the first epoch of a fit.
        history = made.fit(**given, epochs=2 if device and shuffle else 1, verbose=0, callbacks=[clock])
        return clock.seconds, history.history["loss"][-1]

    return epoch


def function_loop(job: Job) -> Epoch:
    model, optimizer = build(job, keras.Model), keras.optimizers.Adam(1e-3)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mean, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()
    weights = model.trainable_variables

    @tailfit.function
    def step(x: Any, y: Any, share: Any) -> Any:
        def forward() -> tuple[Any, Any]:
            if share is None:
                return cross_entropy(y, model(x, training=True)), None
            y_pred = model(share * x + (1 - share) * ops.flip(x, axis=0), training=True)
            loss = share * cross_entropy(y, y_pred) + (1 - share) * cross_entropy(ops.flip(y, axis=0), y_pred)
            return loss, y_pred

        (loss, y_pred), gradients = tailfit.value_and_grad(forward, weights)
        optimizer.apply(gradients, weights)
        mean.update_state(loss)
        if share is not None:
            accuracy.update_state(y, y_pred)

    def epoch(count: int, shuffle: bool) -> tuple[float, float]:
        start = time.perf_counter()
        mean.reset_state()
        accuracy.reset_state()
        batches = job.batches(count, shuffle)
        shares = job.shares(len(batches)) if job.mixup else [None] * len(batches)
        for chosen, share in zip(batches, shares, strict=True):
            step(*job.take(chosen), share)
        loss = float(mean.result())
        return time.perf_counter() - start, loss

    return epoch
