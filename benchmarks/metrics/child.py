"""One process of the benchmark of metrics, on one backend: python child.py ROUNDS STEPS; prints a line of JSON."""

import contextlib
import io
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import tailfit
from tailfit import metrics

BATCH = 64
NETWORKS = {"500-96-48-8": (500, (96, 48), 8), "784-64-64-10": (784, (64, 64), 10)}
METRICS: dict[str, Callable[[], Any]] = {
    "no metric": list,
    "Keras, accuracy": lambda: [keras.metrics.SparseCategoricalAccuracy()],
    "BalancedAccuracy": lambda: [metrics.BalancedAccuracy()],
    "MacroF1": lambda: [metrics.MacroF1()],
    "PerClassRecall": lambda: [metrics.PerClassRecall()],
    "GeometricMean": lambda: [metrics.GeometricMean()],
    "WorstClassRecall": lambda: [metrics.WorstClassRecall()],
    "MatthewsCorrelation": lambda: [metrics.MatthewsCorrelation()],
    "CohenKappa": lambda: [metrics.CohenKappa()],
    "CalibrationError": lambda: [metrics.CalibrationError(from_logits=True)],
    "RocAuc": lambda: [metrics.RocAuc(from_logits=True, capacity=20_000)],
    "AveragePrecision": lambda: [metrics.AveragePrecision(from_logits=True, capacity=20_000)],
}
# What the update of a metric takes by hand, on torch: by its name, the limit in `limits_torch`.
LIMITS = dict.fromkeys([*METRICS][2:9], "confusion") | {"CalibrationError": "gaps", "RocAuc": "scores"}
LIMITS["AveragePrecision"] = "scores"


class Clock(keras.callbacks.Callback):
    """Processor time between the beginnings of the first and the last step of an epoch.

    Without `on_train_batch_end`, for which `fit` would compute all results at every step: the progress bar needs them
    when it draws, every 50 ms.
    """

    seconds = 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch == 0:
            self.began = time.process_time()
        self.seconds = time.process_time() - self.began


def trainer(network: tuple[int, tuple[int, ...], int], steps: int, chosen: list[Any]) -> Callable[[], float]:
    """Return a call that trains an epoch and returns the seconds of a step."""
    inputs, hidden, classes = network
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps * BATCH, inputs)).astype("float32")
    y = rng.integers(0, classes, steps * BATCH).astype("int32")
    layers = [keras.layers.Dense(units, activation="relu") for units in hidden]
    model = tailfit.Model(*_ends(inputs, [*layers, keras.layers.Dense(classes)]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=chosen)
    clock = Clock()

    def epoch() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            model.fit(x, y, batch_size=BATCH, verbose=1, shuffle=False, callbacks=[clock])
        return clock.seconds / (steps - 1)

    return epoch


def _ends(inputs: int, layers: list[Any]) -> tuple[Any, Any]:
    start = end = keras.Input((inputs,))
    for layer in layers:
        end = layer(end)
    return start, end


def main(rounds: int, steps: int) -> None:
    if keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(1)
    tailfit.keep_memory()
    measured = {**METRICS, **by_hand()}
    found = {}
    for name, network in NETWORKS.items():
        epochs = {metric: trainer(network, steps, make()) for metric, make in measured.items()}
        for epoch in epochs.values():
            epoch()
        taken: dict[str, list[float]] = {metric: [] for metric in epochs}
        for _ in range(rounds):
            for metric in random.sample(list(epochs), len(epochs)):
                taken[metric].append(epochs[metric]())
        alone = taken["no metric"]
        added = {
            metric: statistics.median(one / other - 1 for one, other in zip(values, alone, strict=True))
            for metric, values in taken.items()
        }
        added["no metric"] = 1e6 * statistics.median(alone)
        found[name] = {metric: (added[metric], added.get(f"{LIMITS.get(metric)}, by hand")) for metric in METRICS}
    print(json.dumps(found))


def by_hand() -> dict[str, Callable[[], Any]]:
    """Return the limits of the backend."""
    if keras.backend.backend() != "torch":
        return {}
    import limits_torch

    return {f"{name}, by hand": lambda make=make: [make()] for name, make in limits_torch.LIMITS.items()}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
