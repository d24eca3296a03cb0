"""MNIST with wrong training labels: half of them any other digit, or 45 % the next digit.

The co-teaching paper's table stands beside it; its network has nine convolutions and trains 200 epochs.
The limit is the same network trained on the correct labels alone, which in practice are not known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from mnist import load
from sklearn.model_selection import cross_val_predict
from store import Figures, Run, Store, mean_and_spread

import tailfit
from tailfit import losses, steps
from tailfit.sklearn import Classifier

NAME, SEEDS, EPOCHS, BATCH_SIZE = "noise", 5, 10, 128
KINDS = {"symmetric 50 %": 0.5, "pair 45 %": 0.45}


@dataclass(frozen=True)
class Remedy:
    """The loss, a step, and whether the weights are averaged over the steps."""

    loss: Callable[..., Any] = losses.CrossEntropy
    step: Callable[[str], Any] | None = None
    averaged: bool = False


def elr(kind: str) -> Any:
    return steps.ELR(strength=3.0, beta=0.7, from_logits=True)


def small_loss(kind: str) -> Any:
    return steps.SmallLoss(forget_rate=tailfit.schedules.Linear(0.0, KINDS[kind], epochs=EPOCHS // 2))


REMEDIES = {
    "cross-entropy": Remedy(),
    "generalized cross-entropy": Remedy(losses.GeneralizedCrossEntropy),
    "symmetric cross-entropy": Remedy(losses.SymmetricCrossEntropy),
    "bootstrapping, soft": Remedy(losses.Bootstrapping),
    "bootstrapping, hard": Remedy(lambda from_logits: losses.Bootstrapping(hard=True, from_logits=from_logits)),
    "small-loss selection": Remedy(step=small_loss),
    "label-quality weights": Remedy(),
    "early-learning regularisation": Remedy(step=elr),
    "averaged weights": Remedy(averaged=True),
    "early-learning regularisation + averaged weights": Remedy(step=elr, averaged=True),
    "symmetric cross-entropy + averaged weights": Remedy(losses.SymmetricCrossEntropy, averaged=True),
    "symmetric + early-learning regularisation + averaged weights": Remedy(losses.SymmetricCrossEntropy, elr, True),
}
MOMENTUM = 0.999  # of the averaged weights: over about 1,000 steps, two epochs
LIMIT = "limit: correct labels alone"
# Test accuracy, mean of the last ten of 200 epochs: Han et al. 2018, arXiv:1804.06872, the MNIST table.
PUBLISHED = {
    "symmetric 50 %": {
        "Standard": 66.05,
        "Bootstrap": 67.55,
        "F-correction": 79.61,
        "Decoupling": 81.15,
        "MentorNet": 90.05,
        "Co-teaching": 91.32,
    },
    "pair 45 %": {
        "Standard": 56.52,
        "Bootstrap": 57.23,
        "F-correction": 0.24,
        "Decoupling": 58.03,
        "MentorNet": 80.88,
        "Co-teaching": 87.63,
    },
}


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for kind in KINDS:
            for name in (*REMEDIES, LIMIT):
                yield Run(NAME, f"{kind}, {name}", seed, lambda n=name, k=kind, s=seed: one(data, n, k, s))


def spoiled(y: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    wrong = rng.random(len(y)) < KINDS[kind]
    by = rng.integers(1, 10, len(y)) if kind.startswith("symmetric") else 1
    return np.where(wrong, (y + by) % 10, y)


def network(input_shape: tuple[int, ...] = (784,), num_classes: int = 10) -> keras.Model:
    inputs = keras.Input(input_shape)
    x = inputs
    for _ in range(2):
        x = layers.Dense(256, activation="relu")(x)
    return tailfit.Model(inputs, layers.Dense(num_classes)(x))


class Best(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best accuracy on held-out labels, as wrong as the others.

    The weights are those that were validated: the averaged ones, if the optimizer averages.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.last = -1.0, -1.0
        self.weights, self.validated = [], []

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.validated = self.model.get_weights()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.last = logs["val_accuracy"]
        if self.last > self.reached:
            self.reached, self.weights = self.last, self.validated


def one(data: Path, name: str, kind: str, seed: int) -> dict[str, Figures]:
    x, y, is_train = load(data)
    x = x.reshape(len(x), -1)
    rng = np.random.default_rng([2018, seed])
    noisy = spoiled(y[is_train], kind, rng)
    train, held_out = tailfit.data.Arrays(x[is_train], noisy).split(0.9, 0.1, seed=seed)

    remedy = REMEDIES.get(name, Remedy())
    if name == LIMIT:
        correct = train.indices[noisy[train.indices] == y[is_train][train.indices]]
        train = tailfit.data.Arrays(x[is_train][correct], noisy[correct])

    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    weights = trust(x[is_train][train.indices], noisy[train.indices], seed) if name == "label-quality weights" else None
    batches = tailfit.Batches(train, BATCH_SIZE, seed=seed, sample_weight=weights)
    averaging = {"use_ema": True, "ema_momentum": MOMENTUM} if remedy.averaged else {}
    model = network()
    model.compile(
        keras.optimizers.Adam(**averaging),
        remedy.loss(from_logits=True),
        metrics=["accuracy"],
        steps=[remedy.step(kind)] if remedy.step else [],
        steps_per_execution=32,
    )
    best = Best()
    callbacks = [best, *([keras.callbacks.SwapEMAWeights()] if remedy.averaged else [])]
    validation = tailfit.Batches(held_out, 1000)
    model.fit(batches, epochs=EPOCHS, validation_data=validation, callbacks=callbacks, verbose=0)

    def accuracy() -> float:
        called = model.predict(x[~is_train], batch_size=1000, verbose=0).argmax(axis=1)
        return float((called == y[~is_train]).mean())

    at_the_end = accuracy()
    model.set_weights(best.weights)
    figures = {"last epoch": at_the_end, "best held-out epoch": accuracy(), "validation accuracy": best.last}
    return {f"{kind}, {name}": figures}


def trust(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """A weight for each label: what networks that did not see the sample say of it, after three epochs."""
    judge = Classifier(network, epochs=3, batch_size=BATCH_SIZE, random_state=seed)
    probabilities = cross_val_predict(judge, x, y, cv=3, method="predict_proba")
    quality = tailfit.weights.label_quality(y, probabilities)
    return quality / quality.mean()


def table(store: Store) -> list[str]:
    rows = store.rows(NAME)
    lines = [
        "(d) MNIST with wrong labels in training and held-out part; test accuracy",
        f"    ours: 784-256-256-10, {EPOCHS} epochs; published: nine convolutions, 200 epochs: not the same problem",
        "    held-out labels: accuracy after the last epoch on held-out labels, as wrong as the others",
        f"    {store.about(NAME)}",
    ]
    for kind, published in PUBLISHED.items():
        titles = ("last epoch", "best held-out", "held-out labels")
        lines.append(f"{kind + ', %':64}{'seeds':>8}" + "".join(f"{title:>16}" for title in titles))
        for name in (*REMEDIES, LIMIT):
            seeds = rows.get(f"{kind}, {name}")
            if seeds:
                keys = ("last epoch", "best held-out epoch", "validation accuracy")
                known = [key for key in keys if all(key in figures for figures in seeds.values())]
                cells = "".join(f"{mean_and_spread(seeds.values(), key):>16}" for key in known)
                lines.append(f"{name:64}{len(seeds):8}{cells}")
        lines += [f"{name + ' (published)':64}{'':8}{value:8.2f}" for name, value in published.items()]
    return lines
