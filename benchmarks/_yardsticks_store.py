"""Where finished runs lie: one JSON a run, written whole or not at all, so that a stopped benchmark goes on."""

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """One training: what it is called, and the function that does it and gives its figures, by row of the table.

    One training may fill several rows: what corrects a network afterwards starts from the same network.
    """

    yardstick: str
    remedy: str
    seed: int
    do: Callable[[], dict[str, Figures]]

    @property
    def name(self) -> str:
        return f"{self.yardstick}/{re.sub(r'[^a-z0-9]+', '-', self.remedy.lower()).strip('-')}-{self.seed}"


class Store:
    """A folder of finished runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: Run) -> Path:
        return self.folder / f"{run.name}.json"

    def finished(self, run: Run) -> bool:
        return self.path(run).exists()

    def write(self, run: Run, rows: dict[str, Figures], **about: Any) -> None:
        path = self.path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = {"yardstick": run.yardstick, "remedy": run.remedy, "seed": run.seed, "rows": rows, **about}
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        draft.replace(path)

    def read(self, yardstick: str) -> list[dict[str, Any]]:
        return [
            json.loads(path.read_text(encoding="utf-8")) for path in sorted((self.folder / yardstick).glob("*.json"))
        ]

    def rows(self, yardstick: str) -> dict[str, dict[int, Figures]]:
        """Figures by row and seed."""
        found: dict[str, dict[int, Figures]] = defaultdict(dict)
        for run in self.read(yardstick):
            for row, figures in run["rows"].items():
                found[row][run["seed"]] = figures
        return found

    def about(self, yardstick: str) -> str:
        """Which versions the runs were made with, and how long they took."""
        runs = self.read(yardstick)
        made_with = sorted({run["made_with"] for run in runs})
        return f"{len(runs)} runs, {sum(run['seconds'] for run in runs):.0f} s; {'; '.join(made_with)}"


def mean_and_spread(figures: Iterable[Figures], name: str, scale: float = 100.0) -> str:
    """`mean +- standard deviation` over seeds, in percent."""
    values = np.array([each[name] for each in figures]) * scale
    return f"{values.mean():6.2f} +-{values.std(ddof=1):5.2f}" if len(values) > 1 else f"{values.mean():6.2f}        "


def confusion_figures(y: Any, called: Any, classes: int) -> Figures:
    """Mean recall, mean of sqrt(recall * specificity), macro F1, worst recall and accuracy."""
    table = np.zeros((classes, classes))
    np.add.at(table, (np.asarray(y), np.asarray(called)), 1)
    hits, support, answers = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    recall = hits / np.maximum(support, 1)
    precision = hits / np.maximum(answers, 1)
    specificity = 1 - (answers - hits) / (len(y) - support)
    f1 = 2 * hits / np.maximum(support + answers, 1)
    return {
        "mean recall": float(recall.mean()),
        "geometric": float(np.sqrt(recall * specificity).mean()),
        "macro F1": float(f1.mean()),
        "worst recall": float(recall.min()),
        "mean precision": float(precision.mean()),
        "accuracy": float(hits.sum() / len(y)),
    }


def chosen(rows: dict[str, dict[int, Figures]], key: str) -> str:
    """The row with the best mean on held-out samples, of those with the most seeds; the test figures have no say."""
    most = max(map(len, rows.values()))
    whole = {name: held_out(seeds, key) for name, seeds in rows.items() if len(seeds) == most}
    return max(whole, key=whole.__getitem__)


def held_out(seeds: dict[int, Figures], key: str) -> float:
    return float(np.mean([figures[f"validation {key}"] for figures in seeds.values()]))


def ranked_table(rows: dict[str, dict[int, Figures]], key: str, shown: tuple[str, ...]) -> list[str]:
    """A line a row, best held-out figure of `key` first: the last column."""
    best = chosen(rows, key)
    keys = (*shown, f"validation {key}")
    lines = [f"{'%':56}{'seeds':>8}" + "".join(f"{title:>16}" for title in (*shown, "held out"))]
    for name, seeds in sorted(rows.items(), key=lambda row: -held_out(row[1], key)):
        cells = "".join(f"{mean_and_spread(seeds.values(), each):>16}" for each in keys)
        lines.append(f"{name + (' <- chosen' if name == best else ''):56}{len(seeds):8}{cells}")
    return lines
