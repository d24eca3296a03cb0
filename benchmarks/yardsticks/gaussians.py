"""Menon et al. 2021, section 6.1: two Gaussians, one of them rare, a linear scorer, balanced error."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from scipy.stats import norm
from store import Figures, Run, Store, mean_and_spread

import tailfit

NAME, TRIALS, SAMPLES, POSITIVE = "gaussians", 100, 10_000, 0.05
BAYES = norm.cdf(-np.sqrt(2.0))  # the means are sqrt(2) from the line between them, in standard deviations
PUBLISHED = {"plain cross-entropy": "18.1  +- 1.3", "logit-adjusted loss": " 7.95 +- 0.7"}


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for trial in range(seeds or TRIALS):
        yield Run(NAME, "both losses", trial, lambda trial=trial: one_trial(trial))


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y = (rng.random(SAMPLES) < POSITIVE).astype(np.int64)
    return (rng.normal(size=(SAMPLES, 2)) + np.where(y, 1.0, -1.0)[:, None]).astype("float32"), y


def one_trial(trial: int) -> dict[str, Figures]:
    rng = np.random.default_rng([2021, trial])
    x, y = drawn(rng)
    x_test, y_test = drawn(rng)
    batches = tailfit.Batches(tailfit.data.Arrays(x, y), 500, seed=trial)
    losses = {
        "plain cross-entropy": tailfit.losses.CrossEntropy(from_logits=True),
        "logit-adjusted loss": tailfit.losses.LogitAdjusted(batches, from_logits=True),
    }
    rows = {}
    for name, loss in losses.items():
        keras.utils.clear_session()
        keras.utils.set_random_seed(trial)
        inputs = keras.Input((2,))
        model = tailfit.Model(inputs, keras.layers.Dense(2)(inputs))
        rate = keras.optimizers.schedules.CosineDecay(0.1, 20 * len(batches))
        model.compile(keras.optimizers.Adam(rate), loss)
        model.fit(batches, epochs=20, verbose=0)
        kernel, bias = model.get_weights()
        rows[name] = balanced_error(y_test, (x_test @ kernel + bias).argmax(axis=1))
    rows["Bayes"] = balanced_error(y_test, (x_test.sum(axis=1) > 0).astype(np.int64))
    return rows


def balanced_error(y: np.ndarray, called: np.ndarray) -> Figures:
    return {"balanced error": float(np.mean([(called[y == c] != c).mean() for c in (0, 1)]))}


def table(store: Store) -> list[str]:
    rows = store.rows(NAME)
    lines = [
        "(a) Two Gaussians at +-(1, 1), unit variance, 5 % positive; linear scorer; 10,000 to train, 10,000 to test",
        f"    {store.about(NAME)}",
        f"{'balanced error, %':56}{'trials':>8}{'ours':>16}   published (Menon et al. 2021, section 6.1)",
    ]
    for name, trials in rows.items():
        published = PUBLISHED.get(name, f" {BAYES:.2%}".replace("%", "") + "        its expectation")
        lines.append(f"{name:56}{len(trials):8}{mean_and_spread(trials.values(), 'balanced error'):>16}   {published}")
    return lines
