"""Three sets of the UCR archive with a long tail, in their authors' split into training and test part.

The published figures are those of five single networks of InceptionTime, 1500 epochs on a GPU, by their authors. The
networks here have fewer epochs. Remedies are chosen on a fifth of the training part, by networks trained on the other
four fifths; the figures of the test part are those of networks trained on the whole training part.
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
    "cnn": Budget(epochs=100, batch_size=16, learning_rate=3e-3),
    "fcn": Budget(epochs=300, batch_size=16, learning_rate=3e-3),
    "resnet": Budget(epochs=300, batch_size=16, learning_rate=3e-3),
    "lite": Budget(epochs=100, batch_size=16, learning_rate=3e-3),
    "inception_time": Budget(epochs=300, batch_size=16, learning_rate=3e-3),
}
FEW = ("plain cross-entropy", "logit-adjusted loss", "LDAM-DRW", "logit-adjusted + Mixup", "second stages")
REMEDIES = {
    "minirocket": (*FEW, *(name for name in remedies() if name.startswith("ridge regression"))),
    "cnn": (*FEW, "logit-adjusted + augmentation"),
    "fcn": ("plain cross-entropy",),
    "resnet": ("plain cross-entropy",),
    "lite": FEW,
    "inception_time": (*FEW, "logit-adjusted + augmentation"),
}
COMPARED = ("fcn", "resnet")  # with the figures of their authors only: no remedy is chosen for them
# Accuracy and mean recall of each set, mean and standard deviation of five networks: results-inception-128.csv of
# github.com/hfawaz/InceptionTime and results/results-ucr-128.csv of github.com/hfawaz/dl-4-tsc, by the authors. FCN and
# ResNet have 2,000 and 1,500 epochs there. Accuracy alone: results.csv in github.com/MSD-IRIMAS/LITE, mean of five
# networks, and results/accuracy_ucr109_resamples.csv in github.com/angus924/minirocket, by a ridge regression.
PUBLISHED = {
    "InceptionTime, single networks (published)": (
        ("78.66 +- 1.30", "75.74 +- 1.84"),
        ("73.23 +- 0.80", "59.68 +- 1.20"),
        ("66.47 +- 2.36", "50.93 +- 2.57"),
    ),
    "FCN (published)": (
        ("77.84 +- 1.00", "76.17 +- 0.26"),
        ("56.11 +- 0.52", "41.11 +- 0.95"),
        ("69.50 +- 1.49", "56.36 +- 2.13"),
    ),
    "ResNet (published)": (
        ("76.97 +- 0.88", "76.17 +- 1.10"),
        ("61.66 +- 0.89", "45.48 +- 1.76"),
        ("66.33 +- 1.93", "53.73 +- 2.19"),
    ),
    "LITE, single networks (published)": (("75.26", ""), ("67.87", ""), ("68.35", "")),
    "MiniRocket with ridge regression (published)": (("79.47", ""), ("75.39", ""), ("68.35", "")),
}


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for network, names in REMEDIES.items():
            for remedy in names:
                for of in SETS:
                    for part in ("whole",) if network in COMPARED else ("whole", "four fifths"):
                        yield run(data, of, network, remedy, seed, part)


def run(data: Path, of: str, network: str, remedy: str, seed: int, part: str) -> Run:
    name = f"{of}, {network}, {remedy}, {part}"
    return Run(NAME, name, seed, lambda: one(data, of, network, remedy, seed, part))


def one(data: Path, of: str, network: str, remedy: str, seed: int, part: str) -> dict[str, Figures]:
    with np.load(data / "ucr" / f"{of}.npz", allow_pickle=False) as file:
        x, y, is_train, names = file["X"], file["y"], file["is_train"], file["y_names"].tolist()
    source: tailfit.data.Source = tailfit.data.Arrays(x[is_train], y[is_train], class_names=names)
    scored = {"": (x[~is_train], y[~is_train])}
    if part == "four fifths":
        source, held_out = source.split(0.8, 0.2, seed=seed)
        scored = {"validation ": (held_out.read(np.arange(len(held_out))), np.asarray(held_out.labels))}
    rows = figures_of(remedy, network, source, remedies()[remedy], BUDGETS[network], seed, scored)
    return {f"{of}, {network}, {row}": figures for row, figures in rows.items()}


def over_sets(rows: dict[str, dict[int, Figures]], network: str, key: str) -> dict[str, dict[int, float]]:
    return mean_over(rows, [f"{of}, {network}, " for of in SETS], key)


def best(held: dict[str, dict[int, float]]) -> str:
    """Return the remedy with the best held-out mean recall over the three sets, of those with the most seeds."""
    most = max(map(len, held.values()), default=0)
    return max((row for row in held if len(held[row]) == most), key=lambda row: mean_of(held[row]), default="")


def mean_of(seeds: dict[int, float]) -> float:
    return float(np.mean(list(seeds.values()))) if seeds else -1.0


def table(store: Store) -> list[str]:
    rows = store.rows(NAME)
    lines = [
        "(f) Three sets of the UCR archive; accuracy and mean recall of the test part, %",
        "    held out: mean recall on a fifth of the training part, over the sets; of the seeds finished for it; "
        "it chooses the remedy",
        f"    {store.about(NAME)}",
        f"{'':72}{'seeds':>6}" + "".join(f"{of:>33}" for of in SETS) + f"{'mean of recalls':>18}{'held out':>16}",
        *(published(name, of_sets) for name, of_sets in PUBLISHED.items()),
    ]
    for network, budget in BUDGETS.items():
        recall, held = over_sets(rows, network, "mean recall"), over_sets(rows, network, "validation mean recall")
        if recall:
            lines.append(f"{network}: {budget.epochs} epochs, batches of {budget.batch_size}")
        for row in sorted(recall, key=lambda row: (-mean_of(held.get(row, {})), -mean_of(recall[row]))):
            cells = ""
            for of in SETS:
                figures = [rows[f"{of}, {network}, {row}"][seed] for seed in recall[row]]
                cells += f"{mean_and_spread(figures, 'accuracy'):>17}{mean_and_spread(figures, 'mean recall'):>16}"
            cells += f"{spread_of(recall[row]):>18}{spread_of(held.get(row, {})):>16}"
            mark = " <- chosen" if row == best(held) else ""
            lines.append(f"  {row + mark:70}{len(recall[row]):6}{cells}".rstrip())
    return lines


def published(name: str, of_sets: tuple[tuple[str, str], ...]) -> str:
    cells = "".join(f"{aligned(accuracy):>17}{aligned(recall):>16}" for accuracy, recall in of_sets)
    recalls = [float(recall.split()[0]) for _, recall in of_sets if recall]
    mean = f"{np.mean(recalls):11.2f}" if recalls else ""
    return f"{name:72}{5 if recalls else '':6}{cells}{mean}".rstrip()


def aligned(figure: str) -> str:
    return figure if "+-" in figure else f"{figure:13}"


def spread_of(seeds: dict[int, float]) -> str:
    return mean_and_spread([{"": value} for value in seeds.values()], "") if seeds else ""
