"""Tennessee Eastman root causes with a long tail: 22 conditions of a simulated plant, 52 sensors, windows of 20 steps.

There is one training run per condition, and its windows overlap. So validation is the last 20 % of each run, with a gap
in between: no step is in a window of both parts. The order of the faults by frequency is drawn for each seed; "normal"
is the most frequent class.
"""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
from catalogue import catalogue
from keras import layers
from store import Figures, Run, Store, ranked_table
from training import Budget, Remedy, head, rows_of, trained

import tailfit

NAME, SEEDS = "tep", 5
RATIO, GAP, WINDOW = 20, 20, 20
BUDGET = Budget(epochs=60, batch_size=32, learning_rate=3e-3)


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for name, remedy in catalogue().items():
            yield Run(NAME, name, seed, lambda n=name, r=remedy, s=seed: one(data, n, r, s))


def parts(data: Path, seed: int, *, cut: bool = True) -> tuple[tailfit.data.Arrays, tuple, tuple]:
    """Return the long-tailed training source, and validation and test windows with labels, all scaled.

    Without `cut`, the training source has all windows of the training part, about as many of each class.
    """
    with np.load(data / "tep_windows.npz", allow_pickle=False) as file:
        x, y, start, is_train = file["X"], file["y"], file["t0"], file["is_train"]
        names, run = file["y_names"].tolist(), file["run"]
    length = np.array([start[run == each].max() + WINDOW for each in range(run.max() + 1) if (run == each).any()])
    of_run = dict(zip(np.unique(run).tolist(), length.tolist(), strict=True))
    border = 0.8 * np.array([of_run[each] for each in run.tolist()])
    validation = is_train & (start >= border)
    train = is_train & (start + WINDOW + GAP <= border)

    rng = np.random.default_rng([1993, seed])
    normal = names.index("normal")
    ranked = [normal, *rng.permutation([code for code in range(len(names)) if code != normal])]
    most = np.bincount(y[train]).min()
    count = [round(most * RATIO ** (-rank / (len(names) - 1))) if cut else None for rank in range(len(names))]
    kept = np.concatenate(
        [rng.permutation(np.flatnonzero(train & (y == code)))[: count[rank]] for rank, code in enumerate(ranked)]
    )
    mean, spread = x[kept].mean(axis=(0, 1)), x[kept].std(axis=(0, 1)) + 1e-6
    scaled = ((x - mean) / spread).astype("float32")
    source = tailfit.data.Arrays(scaled[kept], y[kept], class_names=names)
    return source, (scaled[validation], y[validation]), (scaled[~is_train], y[~is_train])


def network(*, cosine: bool = False, experts: bool = False) -> tailfit.Model:
    inputs = keras.Input((WINDOW, 52))
    x = layers.GaussianNoise(0.2)(inputs)
    for size in (5, 3):
        x = layers.Conv1D(64, size, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    return tailfit.Model(inputs, head(layers.Dropout(0.3)(x), 22, cosine, experts))


def one(data: Path, name: str, remedy: Remedy, seed: int) -> dict[str, Figures]:
    source, validation, test = parts(data, seed)
    model, batches = trained(network, source, remedy, BUDGET, seed)
    return rows_of(name, model, batches, remedy, BUDGET, {"": test, "validation ": validation})


def table(store: Store) -> list[str]:
    return [
        f"(c) Tennessee Eastman, 22 root causes, training cut to a ratio of {RATIO}; test runs whole",
        f"    {BUDGET.epochs} epochs, batches of {BUDGET.batch_size}, alike for every remedy; {store.about(NAME)}",
        "    held out: the last 20 % of each training run; their macro F1 chooses the remedy, not the test runs",
        *ranked_table(store.rows(NAME), "macro F1", ("macro F1", "worst recall", "mean recall")),
    ]
