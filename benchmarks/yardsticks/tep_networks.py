"""Tennessee Eastman with a long tail, as in `tep`, with the networks of `tailfit.networks`.

The parts are those of `tep`, seed by seed, so its rows can be compared with these. First all networks are trained
plainly. The network with the best held-out macro F1 is then trained with the remedies, and given statistics of the
windows. The held-out part chooses the network, the inputs and the remedy; the test runs choose nothing.

The limits are trained without a long tail, on all windows of the training part: the gap between a result and its limit
is what the tail costs; the rest is lost between the training and the test runs. Limits are never chosen.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import window_statistics
from series import ROCKET_RATE, ensemble_figures, figures_of, layer_rows, remedies
from sklearn.ensemble import RandomForestClassifier
from store import Figures, Run, Store, confusion_figures, mean_and_spread, ranked_table
from tep import parts
from training import Budget

NAME, SEEDS = "tep-networks", 5
BUDGET = Budget(epochs=60, batch_size=32, learning_rate=3e-3)
NETWORKS = ("cnn", "fcn", "resnet", "inception_time", "lite", "minirocket")
PLAIN = "plain cross-entropy"
NETWORK = "fcn"
ENSEMBLE = 5
STATISTICS = "statistics"
LIMIT = "limit, all training windows: "

Parts = Callable[..., tuple[Any, tuple, tuple]]
# Readings as they are; readings and statistics; statistics alone.
INPUTS: dict[str, Parts] = {
    "": parts,
    f" + {STATISTICS}": partial(window_statistics.parts, readings=True),
    STATISTICS: partial(window_statistics.parts, readings=False),
}


def runs(data: Path, seeds: int | None) -> Iterator[Run]:
    for seed in range(seeds or SEEDS):
        for network in NETWORKS:
            yield run(data, network, PLAIN, seed)
        yield Run(NAME, "random forest", seed, lambda s=seed: forests(data, "", s))
        for remedy in remedies():
            if remedy not in (PLAIN, "ridge regression"):
                yield run(data, NETWORK, remedy, seed)
        yield Run(NAME, f"{NETWORK}, ensemble", seed, lambda s=seed: ensemble(data, "", "logit-adjusted loss", s))
        for each in (ridges, forests):
            yield Run(NAME, f"{STATISTICS}, {each.__name__}", seed, lambda of=each, s=seed: of(data, STATISTICS, s))
        for remedy in ("LDAM-DRW", PLAIN):
            yield run(data, NETWORK, remedy, seed, f" + {STATISTICS}")
        name = f"{NETWORK} + {STATISTICS}, ensemble"
        yield Run(NAME, name, seed, lambda s=seed: ensemble(data, f" + {STATISTICS}", "LDAM-DRW", s))
        yield Run(NAME, f"{LIMIT}{STATISTICS}, ridges", seed, lambda s=seed: ridges(data, STATISTICS, s, cut=False))
        yield Run(NAME, f"{LIMIT}{STATISTICS}, forests", seed, lambda s=seed: forests(data, STATISTICS, s, cut=False))
        yield Run(NAME, f"{LIMIT}random forest", seed, lambda s=seed: forests(data, "", s, cut=False))
        for inputs in ("", f" + {STATISTICS}"):
            yield run(data, NETWORK, PLAIN, seed, inputs, cut=False)


def run(data: Path, network: str, remedy: str, seed: int, inputs: str = "", *, cut: bool = True) -> Run:
    name = f"{'' if cut else LIMIT}{network}{inputs}, {remedy}"
    return Run(NAME, name, seed, lambda: one(data, network, remedy, seed, inputs, cut=cut))


def budget_of(network: str) -> Budget:
    return replace(BUDGET, learning_rate=ROCKET_RATE) if network == "minirocket" else BUDGET


def one(data: Path, network: str, remedy: str, seed: int, inputs: str = "", *, cut: bool = True) -> dict[str, Figures]:
    source, validation, test = INPUTS[inputs](data, seed, cut=cut)
    scored = {"": test, "validation ": validation}
    rows = figures_of(remedy, network, source, remedies()[remedy], budget_of(network), seed, scored)
    if not cut:
        return {f"{LIMIT}{network}{inputs}": rows[remedy]}
    return {f"{network}{inputs}, {row}": figures for row, figures in rows.items()}


def ensemble(data: Path, inputs: str, remedy: str, seed: int) -> dict[str, Figures]:
    source, validation, test = INPUTS[inputs](data, seed)
    scored = {"": test, "validation ": validation}
    members = [ENSEMBLE * (seed + 1) + k for k in range(ENSEMBLE)]
    figures = ensemble_figures(NETWORK, source, remedies()[remedy], budget_of(NETWORK), members, scored)
    return {f"{NETWORK}{inputs}, {remedy}, ensemble of {ENSEMBLE}": figures}


def ridges(data: Path, inputs: str, seed: int, *, cut: bool = True) -> dict[str, Figures]:
    """Return the figures of one layer by ridge regression."""
    source, validation, test = INPUTS[inputs](data, seed, cut=cut)
    rows = layer_rows("ridge regression", source, seed, {"": test, "validation ": validation})
    if not cut:
        return {f"{LIMIT}ridge regression of {inputs}": rows["ridge regression"]}
    return {row.replace("ridge regression", f"ridge regression of {inputs}"): each for row, each in rows.items()}


def forests(data: Path, inputs: str, seed: int, *, cut: bool = True) -> dict[str, Figures]:
    """Return the figures of a reference without a network: trees on all readings of a window, or on its statistics."""
    source, validation, test = INPUTS[inputs](data, seed, cut=cut)
    x, y = source.read(np.arange(len(source))), source.labels
    name = f"random forest of {inputs}" if inputs else "random forest"
    rows = {}
    for remedy, weight in (("plain", None), ("class weights", "balanced")):
        trees = RandomForestClassifier(500, class_weight=weight, random_state=seed).fit(x.reshape(len(x), -1), y)
        figures: Figures = {}
        for prefix, (records, labels) in (("", test), ("validation ", validation)):
            called = trees.predict(records.reshape(len(records), -1))
            of_set = confusion_figures(labels, called, len(source.class_names))
            figures |= {prefix + key: value for key, value in of_set.items()}
        if not cut:
            return {f"{LIMIT}{name}": figures}
        rows[f"{name}, {remedy}"] = figures
    return rows


def table(store: Store) -> list[str]:
    rows = store.rows(NAME)
    limits = {name: rows.pop(name) for name in list(rows) if name.startswith(LIMIT)}
    keys = ("macro F1", "worst recall", "mean recall")
    ranked = ranked_table(rows, "macro F1", keys)
    width = ranked[0].index("seeds") - 3
    lines = [
        "(e) Tennessee Eastman as in (c), with the networks of tailfit.networks",
        f"    {BUDGET.epochs} epochs, batches of {BUDGET.batch_size}, alike for all; {store.about(NAME)}",
        "    held out: as in (c); it chooses the network, the inputs and the remedy",
        "    statistics: level, size, deviation and mean change of each sensor in a window, on a logarithmic scale",
        *ranked,
    ]
    for name, seeds in limits.items():
        cells = "".join(f"{mean_and_spread(seeds.values(), key):>16}" for key in (*keys, "validation macro F1"))
        lines.append(f"{name:{width}}{len(seeds):8}{cells}")
    return lines
