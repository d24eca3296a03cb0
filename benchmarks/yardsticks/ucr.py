"""Three sets of the UCR archive with a long tail, in their authors' split into training and test part.

The published figures are those of five single networks of InceptionTime, 1500 epochs on a GPU, by their authors. Ours
have fewer epochs. What is chosen is chosen on a fifth of the training part, by networks trained on the other four
fifths; the figures of the test part are those of networks trained on the whole training part.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from series import ROCKET_RATE, figures_of, remedies
from store import Figures, Run, Store, mean_and_spread, mean_over
from training import Budget

import tailfit

NAME, SEEDS = "ucr", 5
SETS = ("MedicalImages", "WordSynonyms", "DistalPhalanxTW")
BUDGETS = {
    "minirocket": Budget(epochs=100, batch_size=32, learning_rate=ROCKET_RATE),
    "lite": Budget(epochs=200, batch_size=16, learning_rate=3e-3),
    "cnn": Budget(epochs=200, batch_size=16, learning_rate=3e-3),
    "inception_time": Budget(epochs=100, batch_size=16, learning_rate=3e-3),
}
REMEDIES = {
    "minirocket": ("plain cross-entropy", "logit-adjusted loss", "class weights", "LDAM-DRW", "logit-adjusted + Mixup"),
    "lite": tuple(remedies()),
    "cnn": ("plain cross-entropy",),
    "inception_time": ("plain cross-entropy", "logit-adjusted loss", "logit-adjusted + augmentation"),
}
# Accuracy and mean recall, mean and standard deviation of five networks: results-inception-128.csv of their authors,
# github.com/hfawaz/InceptionTime.
PUBLISHED = {
    "MedicalImages": ("78.66 +- 1.30", "75.74 +- 1.84"),
    "WordSynonyms": ("73.23 +- 0.80", "59.68 +- 1.20"),
    "DistalPhalanxTW": ("66.47 +- 2.36", "50.93 +- 2.57"),
}


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for network, names in REMEDIES.items():
            for remedy in names:
                for of in SETS:
                    yield run(data, of, network, remedy, seed)


def run(data: Path, of: str, network: str, remedy: str, seed: int) -> Run:
    return Run(NAME, f"{of}, {network}, {remedy}", seed, lambda: one(data, of, network, remedy, seed))


def one(data: Path, of: str, network: str, remedy: str, seed: int) -> dict[str, Figures]:
    with np.load(data / "ucr" / f"{of}.npz", allow_pickle=False) as file:
        x, y, is_train, names = file["X"], file["y"], file["is_train"], file["y_names"].tolist()
    whole = tailfit.data.Arrays(x[is_train], y[is_train], class_names=names)
    most, held_out = whole.split(0.8, 0.2, seed=seed)
    apart = held_out.read(np.arange(len(held_out))), np.asarray(held_out.labels)
    chosen = remedies()[remedy]
    budget = BUDGETS[network]
    tested = figures_of(remedy, network, whole, chosen, budget, seed, {"": (x[~is_train], y[~is_train])})
    held = figures_of(remedy, network, most, chosen, budget, seed, {"validation ": apart})
    return {f"{of}, {network}, {row}": tested[row] | held[row] for row in tested}


def over_sets(rows: dict[str, dict[int, Figures]], network: str, key: str) -> dict[str, dict[int, float]]:
    return mean_over(rows, [f"{of}, {network}, " for of in SETS], key)


def best(rows: dict[str, dict[int, Figures]], network: str) -> str:
    """The remedy with the best held-out mean recall over the three sets, of those with the most seeds."""
    held = over_sets(rows, network, "validation mean recall")
    most = max(map(len, held.values()))
    return max((row for row in held if len(held[row]) == most), key=lambda row: np.mean(list(held[row].values())))


def table(store: Store) -> list[str]:
    rows = store.rows(NAME)
    heads = [f"{of[:14]:>17}{'':16}" for of in SETS]
    lines = [
        "(f) Three sets of the UCR archive; accuracy and mean recall of the test part, %",
        "    held out: mean recall of a fifth of the training part, mean over the sets; it chooses the remedy",
        f"    {store.about(NAME)}",
        f"{'':44}{'seeds':>6}" + "".join(heads) + f"{'mean of recalls':>17}{'held out':>16}",
        f"{'InceptionTime, single networks (published)':44}{5:6}"
        + "".join(f"{accuracy:>17}{recall:>16}" for accuracy, recall in PUBLISHED.values())
        + f"{62.12:12.2f}",
    ]
    for network, budget in BUDGETS.items():
        held = over_sets(rows, network, "validation mean recall")
        if not held:
            continue
        recall, chosen = over_sets(rows, network, "mean recall"), best(rows, network)
        lines.append(f"{network}: {budget.epochs} epochs, batches of {budget.batch_size}")
        for row in sorted(held, key=lambda row: -np.mean(list(held[row].values()))):
            cells = ""
            for of in SETS:
                figures = [rows[f"{of}, {network}, {row}"][seed] for seed in held[row]]
                cells += f"{mean_and_spread(figures, 'accuracy'):>17}{mean_and_spread(figures, 'mean recall'):>16}"
            means = "".join(
                f"{mean_and_spread([{'': value} for value in each[row].values()], ''):>{width}}"
                for each, width in ((recall, 17), (held, 16))
            )
            mark = " <- chosen" if row == chosen else ""
            lines.append(f"  {row + mark:42}{len(held[row]):6}{cells}{means}")
    return lines
