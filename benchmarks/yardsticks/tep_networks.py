"""Tennessee Eastman with a long tail, as in `tep`, with the networks of `tailfit.networks`.

The parts are those of `tep`, seed by seed, so its rows can be compared with these. First all networks are trained
plainly. The network with the best held-out macro F1 is then trained with the remedies. The held-out part chooses both,
the network and the remedy; the test runs choose nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from series import ROCKET_RATE, ensemble_figures, figures_of, remedies
from sklearn.ensemble import RandomForestClassifier
from store import Figures, Run, Store, confusion_figures, ranked_table
from tep import parts
from training import Budget

NAME, SEEDS = "tep-networks", 5
BUDGET = Budget(epochs=60, batch_size=32, learning_rate=3e-3)
NETWORKS = ("cnn", "fcn", "resnet", "inception_time", "lite", "minirocket")
FIRST = ("plain cross-entropy",)
NETWORK = "fcn"
ENSEMBLE = 5


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for network in NETWORKS:
            for remedy in FIRST:
                yield run(data, network, remedy, seed)
        yield Run(NAME, "random forest", seed, lambda s=seed: forest(data, s))
        for remedy in remedies():
            if remedy not in FIRST:
                yield run(data, NETWORK, remedy, seed)
        yield Run(NAME, f"{NETWORK}, ensemble", seed, lambda s=seed: ensemble(data, s))


def run(data: Path, network: str, remedy: str, seed: int) -> Run:
    return Run(NAME, f"{network}, {remedy}", seed, lambda: one(data, network, remedy, seed))


def budget_of(network: str) -> Budget:
    return replace(BUDGET, learning_rate=ROCKET_RATE) if network == "minirocket" else BUDGET


def one(data: Path, network: str, remedy: str, seed: int) -> dict[str, Figures]:
    source, validation, test = parts(data, seed)
    scored = {"": test, "validation ": validation}
    rows = figures_of(remedy, network, source, remedies()[remedy], budget_of(network), seed, scored)
    return {f"{network}, {row}": figures for row, figures in rows.items()}


def ensemble(data: Path, seed: int) -> dict[str, Figures]:
    source, validation, test = parts(data, seed)
    scored = {"": test, "validation ": validation}
    remedy = remedies()["logit-adjusted loss"]
    members = [ENSEMBLE * (seed + 1) + k for k in range(ENSEMBLE)]
    figures = ensemble_figures(NETWORK, source, remedy, budget_of(NETWORK), members, scored)
    return {f"{NETWORK}, logit-adjusted loss, ensemble of {ENSEMBLE}": figures}


def forest(data: Path, seed: int) -> dict[str, Figures]:
    """Return the figures of a reference without a network: trees on all readings of a window."""
    source, validation, test = parts(data, seed)
    x, y = source.read(np.arange(len(source))), source.labels
    rows = {}
    for remedy, weight in (("plain", None), ("class weights", "balanced")):
        trees = RandomForestClassifier(500, class_weight=weight, random_state=seed).fit(x.reshape(len(x), -1), y)
        figures: Figures = {}
        for prefix, (records, labels) in (("", test), ("validation ", validation)):
            called = trees.predict(records.reshape(len(records), -1))
            of_set = confusion_figures(labels, called, len(source.class_names))
            figures |= {prefix + key: value for key, value in of_set.items()}
        rows[f"random forest, {remedy}"] = figures
    return rows


def table(store: Store) -> list[str]:
    rows = store.rows(NAME)
    return [
        "(e) Tennessee Eastman as in (c), with the networks of tailfit.networks",
        f"    {BUDGET.epochs} epochs, batches of {BUDGET.batch_size}, alike for all; {store.about(NAME)}",
        "    held out: as in (c); it chooses the network and the remedy",
        *ranked_table(rows, "macro F1", ("macro F1", "worst recall", "mean recall")),
    ]
