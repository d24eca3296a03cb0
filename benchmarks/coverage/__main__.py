"""Coverage of the 95 % intervals, where windows of a recording are correlated.

    python benchmarks/coverage [--designs "one class"] [--classes 2 8] [--trials 600] [--out runs.jsonl]
    python benchmarks/coverage --trials 0 --table benchmarks/coverage/results.txt

Each finished setting is a line in --out and is not repeated. With 600 trials, a coverage of 95 % is measured with a
standard error of 0.9 %; intervals that treat windows as independent ("iid"), and those that resample groups (peers.py),
are measured in a third of the trials.
"""

import argparse
import json
import time
import zlib
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
from peers import GroupCounts
from recordings import Setting, draw, truth
from tables import table

from tailfit.evaluation.group_intervals import GroupedPredictions, group_difference_figures
from tailfit.evaluation.intervals import jeffreys, overall_figures
from tailfit.evaluation.metrics import class_counts

OPTIONS = {"confidence": 0.95, "seed": 0}
RESAMPLES = 200  # for "iid" and the peers


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--designs", nargs="+", default=["equal", "one class", "all classes"])
    parser.add_argument("--groups", nargs="+", type=int, default=[1, 2, 3, 5, 10, 20, 50])
    parser.add_argument("--classes", nargs="+", type=int, default=[2, 8, 20])
    parser.add_argument("--correlations", nargs="+", type=float, default=[0.0, 0.3, 0.7])
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "runs.jsonl")
    parser.add_argument("--table", type=Path, help="also write the tables here")
    given = parser.parse_args()
    given.out.touch()
    finished = [json.loads(line) for line in given.out.read_text(encoding="utf-8").splitlines()]
    for setting in settings(given.designs, given.groups, given.classes, given.correlations):
        if not given.trials or any(line["setting"] == asdict(setting) for line in finished):
            continue
        begun = time.perf_counter()
        line = {"setting": asdict(setting), "trials": given.trials, "covered": measured(setting, given.trials)}
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        finished.append(line)
        print(f"{setting}: {time.perf_counter() - begun:.0f} s", flush=True)
    text = table(finished)
    print(text)
    if given.table:
        given.table.write_text(text + "\n", encoding="utf-8")


def settings(designs: list[str], groups: list[int], classes: list[int], correlations: list[float]) -> list[Setting]:
    """Return every combination; the design "equal" has one setting, where recalls scatter as Beta(0.84, 0.36)."""
    varied = [Setting(*each) for each in product(designs, groups, classes, correlations) if each[0] != "equal"]
    return ([Setting("equal", 24, 2, round(1 / (1 + 0.84 + 0.36), 6))] if "equal" in designs else []) + varied


def measured(setting: Setting, trials: int) -> dict[str, float]:
    """Return the share of trials in which each interval contains the true figure."""
    rng = np.random.default_rng(zlib.crc32(repr(setting).encode()))
    held: dict[str, list[float]] = {}
    for trial in range(trials):
        for key, inside in _trial(setting, rng, peers=trial % 3 == 0).items():
            held.setdefault(key, []).append(inside)
    return {key: round(float(np.mean(values)), 4) for key, values in held.items()}


def _trial(setting: Setting, rng: np.random.Generator, peers: bool) -> dict[str, float]:
    y, groups, better, worse = draw(setting, rng)
    number, classes, recalls = int(groups.max()) + 1, setting.classes, setting.recalls
    true, true_worse = truth(recalls), truth(0.85 * recalls)
    held: dict[str, float] = {}

    grouped = GroupedPredictions(y, np.stack([worse, better]), groups, number, classes)
    base, figures = (grouped.figures(row, **OPTIONS) for row in (0, 1))
    low, high = grouped.recalls([1]).limits(0.95)
    of_kinds = {"groups": figures}
    if peers:
        of_kinds["iid"] = overall_figures(y, better, classes, resamples=RESAMPLES, **OPTIONS)
    for name, each in of_kinds.items():
        held |= {f"{name}: {key}": _inside(figure.low, true[key], figure.high) for key, figure in each.items()}
    hits, _, support = class_counts(y, better, classes)
    for name, (below, above) in (("groups", (low, high)), ("iid", jeffreys(hits, support, 0.95))):
        inside = (below <= recalls) & (recalls <= above)
        held |= {f"{name}: recalls": float(inside.mean()), f"{name}: best recall": float(inside[0])}
        held[f"{name}: lowest recall"] = float(inside[-1])
        held[f"{name}: width"] = float(np.mean(above - below))

    for key, gain in group_difference_figures(grouped, base, figures, 0.95).items():
        held[f"groups: difference {key}"] = _inside(gain.low, true[key] - true_worse[key], gain.high)

    if peers and classes <= 8 and setting.groups > 2:
        counts = GroupCounts(y, better, groups, classes, RESAMPLES, rng)
        for key, used, value in (
            ("balanced_accuracy", list(range(classes)), true["balanced_accuracy"]),
            ("best recall", [0], recalls[0]),
            ("lowest recall", [classes - 1], recalls[-1]),
        ):
            for name, (below, above) in counts.intervals(used).items():
                held[f"{name}: {key}"] = _inside(below, value, above)
    return held


def _inside(low: float, value: float, high: float) -> float:
    return float(low - 1e-9 <= value <= high + 1e-9)


if __name__ == "__main__":
    main()
