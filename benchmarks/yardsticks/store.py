"""Finished runs, a line of JSON each in one file per yardstick, so that an interrupted benchmark continues."""

import fcntl
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, float]


def name_of(remedy: str, seed: int) -> str:
    return f"{re.sub(r'[^a-z0-9]+', '-', remedy.lower()).strip('-')}-{seed}"


@dataclass(frozen=True)
class Run:
    """One training: its name, and the function that runs it and returns its figures by row of the table.

    A training may have several rows: corrections of a trained network all start from the same one.
    """

    yardstick: str
    remedy: str
    seed: int
    do: Callable[[], dict[str, Figures]]

    @property
    def name(self) -> str:
        return f"{self.yardstick}/{name_of(self.remedy, self.seed)}"


class Store:
    """A folder of finished runs, to which several processes may add at the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, yardstick: str) -> Path:
        return self.folder / f"{yardstick}.jsonl"

    def finished(self, run: Run) -> bool:
        return any(run.name == f"{run.yardstick}/{name}" for name in self._by_name(run.yardstick))

    def write(self, run: Run, rows: dict[str, Figures], **about: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = {"yardstick": run.yardstick, "remedy": run.remedy, "seed": run.seed, "rows": rows, **about}
        with self.path(run.yardstick).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)  # of a process that was stopped while it wrote
            file.write(json.dumps(whole).encode() + b"\n")

    def read(self, yardstick: str) -> list[dict[str, Any]]:
        """Return the runs, ordered by name."""
        return [run for _, run in sorted(self._by_name(yardstick).items(), key=lambda one: f"{one[0]}.")]

    def _by_name(self, yardstick: str) -> dict[str, dict[str, Any]]:
        path = self.path(yardstick)
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        runs = [json.loads(line) for line in lines if line.endswith("\n")]
        return {name_of(run["remedy"], run["seed"]): run for run in runs}

    def rows(self, yardstick: str) -> dict[str, dict[int, Figures]]:
        """Return figures by row and seed; those of runs that measured a row on different samples are merged."""
        found: dict[str, dict[int, Figures]] = defaultdict(dict)
        for run in self.read(yardstick):
            for row, figures in run["rows"].items():
                found[row][run["seed"]] = found[row].get(run["seed"], {}) | figures
        return found

    def about(self, yardstick: str) -> str:
        """Return the number of runs, their total time, and the versions that they were made with."""
        runs = self.read(yardstick)
        made_with = sorted({run["made_with"] for run in runs})
        return f"{len(runs)} runs, {sum(run['seconds'] for run in runs):.0f} s; {'; '.join(made_with)}"


def mean_and_spread(figures: Iterable[Figures], name: str, scale: float = 100.0) -> str:
    """Format mean and standard deviation over seeds, in percent."""
    values = np.array([each[name] for each in figures]) * scale
    return f"{values.mean():6.2f} +-{values.std(ddof=1):5.2f}" if len(values) > 1 else f"{values.mean():6.2f}        "


def mean_over(rows: dict[str, dict[int, Figures]], prefixes: list[str], key: str) -> dict[str, dict[int, float]]:
    """Return the mean of a figure over several data sets, whose rows begin with the prefixes, by remedy and seed.

    Remedies and seeds that are not finished for all data sets are left out.
    """
    found: dict[str, dict[int, float]] = {}
    for name in rows:
        if name.startswith(prefixes[0]):
            remedy = name.removeprefix(prefixes[0])
            of_sets = [rows.get(prefix + remedy, {}) for prefix in prefixes]
            if seeds := set.intersection(*({seed for seed in each if key in each[seed]} for each in of_sets)):
                found[remedy] = {seed: float(np.mean([each[seed][key] for each in of_sets])) for seed in sorted(seeds)}
    return found


def confusion_figures(y: Any, called: Any, classes: int) -> Figures:
    """Return mean recall, mean of sqrt(recall * specificity), macro F1, worst recall and accuracy.

    Means are over the classes with a sample: a small held-out part may lack the rarest.
    """
    table = np.zeros((classes, classes))
    np.add.at(table, (np.asarray(y), np.asarray(called)), 1)
    hits, support, answers = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    recall = hits / np.maximum(support, 1)
    precision = hits / np.maximum(answers, 1)
    specificity = 1 - (answers - hits) / (len(y) - support)
    f1 = 2 * hits / np.maximum(support + answers, 1)
    there = support > 0
    return {
        "mean recall": float(recall[there].mean()),
        "geometric": float(np.sqrt(recall * specificity)[there].mean()),
        "macro F1": float(f1[there].mean()),
        "worst recall": float(recall[there].min()),
        "mean precision": float(precision[there].mean()),
        "accuracy": float(hits.sum() / len(y)),
    }


def chosen(rows: dict[str, dict[int, Figures]], key: str) -> str:
    """Return the row with the best mean on held-out samples, of those with the most seeds."""
    most = max(map(len, rows.values()))
    whole = {name: held_out(seeds, key) for name, seeds in rows.items() if len(seeds) == most}
    return max(whole, key=whole.__getitem__)


def held_out(seeds: dict[int, Figures], key: str) -> float:
    return float(np.mean([figures[f"validation {key}"] for figures in seeds.values()]))


def ranked_table(rows: dict[str, dict[int, Figures]], key: str, shown: tuple[str, ...]) -> list[str]:
    """Return a line per row, ordered by the held-out figure of `key`, which is the last column."""
    best = chosen(rows, key)
    keys = (*shown, f"validation {key}")
    width = max(56, *(len(name) + 11 for name in rows))
    lines = [f"{'%':{width}}{'seeds':>8}" + "".join(f"{title:>16}" for title in (*shown, "held out"))]
    for name, seeds in sorted(rows.items(), key=lambda row: -held_out(row[1], key)):
        cells = "".join(f"{mean_and_spread(seeds.values(), each):>16}" for each in keys)
        lines.append(f"{name + (' <- chosen' if name == best else ''):{width}}{len(seeds):8}{cells}")
    return lines
