"""Long-tailed MNIST of the DeepSMOTE table: digit k has 4000 down to 40 images, the test set is whole.

Remedies are chosen on training images that the protocol cuts away, which are balanced and many: a fifth of the 40
images of the rarest digit would be too few. The network and the budget were chosen on them, too, in pilots of one or
two seeds with four of the remedies.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from catalogue import catalogue
from store import Figures, Run, Store, ranked_table
from training import Budget, Remedy, convnet, rows_of, shifted, trained

import tailfit

NAME, SEEDS = "mnist", 5
COUNTS = (4000, 2000, 1000, 750, 500, 350, 200, 100, 60, 40)
HELD_OUT = 500
BUDGET = Budget(epochs=30, batch_size=128, learning_rate=4e-3, transform=shifted)
# Mean recall, mean of sqrt(recall * specificity), macro F1: Dablain et al. 2022, IEEE TNNLS, the MNIST table.
PUBLISHED = {"SMOTE": (87.98, 89.99, 85.02), "GAMO": (95.52, 97.47, 95.47), "DeepSMOTE": (96.09, 97.80, 96.03)}


def load(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(data / "mnist.npz", allow_pickle=False) as file:
        return (file["X"][..., None] / 255.0).astype("float32"), file["y"], file["is_train"]


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for name, remedy in catalogue().items():
            yield Run(NAME, name, seed, lambda n=name, r=remedy, s=seed: one(data, n, r, s))


def parts(data: Path, seed: int) -> tuple[tailfit.data.Arrays, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Return the long-tailed training source, and the sets to score: the test set, and training images left out."""
    x, y, is_train = load(data)
    rng = np.random.default_rng([2022, seed])
    of_digit = [rng.permutation(np.flatnonzero(is_train & (y == digit))) for digit in range(10)]
    kept = np.concatenate([of_digit[digit][:count] for digit, count in enumerate(COUNTS)])
    held_out = np.concatenate([of_digit[digit][count : count + HELD_OUT] for digit, count in enumerate(COUNTS)])
    scored = {"": (x[~is_train], y[~is_train]), "validation ": (x[held_out], y[held_out])}
    return tailfit.data.Arrays(x[kept], y[kept]), scored


def one(data: Path, name: str, remedy: Remedy, seed: int) -> dict[str, Figures]:
    source, scored = parts(data, seed)
    model, batches = trained(convnet, source, remedy, BUDGET, seed)
    return rows_of(name, model, batches, remedy, BUDGET, scored)


def table(store: Store) -> list[str]:
    return [
        f"(b) MNIST cut to {', '.join(map(str, COUNTS))} images of the digits 0 to 9; all 10,000 test images",
        f"    {BUDGET.epochs} epochs, batches of {BUDGET.batch_size}, shifts of up to 2 pixels: alike for every remedy",
        f"    held out: {HELD_OUT} training images of each digit from those cut away: they choose, not the test set",
        f"    {store.about(NAME)}",
        *ranked_table(store.rows(NAME), "mean recall", ("mean recall", "geometric", "macro F1", "worst recall")),
        *(
            f"{name + ' (published)':56}{'':8}" + "".join(f"{value:8.2f}{'':8}" for value in values)
            for name, values in PUBLISHED.items()
        ),
    ]
