"""Nested comparison: the data are divided into folds, and in each fold remedies are trained, chosen and tested.

Each fold is the test part once, and the validation part of the fold before it; the other folds are its training part.
So every sample is tested once and validated once, by networks that have not seen it. Folds are those of
`tailfit.data.folds`: stratified by class, and no group is cut. Each fold is an ordinary comparison in a directory of
its own, `fold-2-of-5`, with a partition, and is continued like one.
"""

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError
from tailfit.evaluation import Comparison, Evaluation, evaluate
from tailfit.recipes.overriding import with_changes
from tailfit.recipes.parts import fold_partitions
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.runs import Planned, Progress, RunEnded
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.storage.writing import make_folder, write_text

__all__ = ["checked_folds", "compare_in_folds", "fold_names", "pooled"]

_LEAST: Final = 3  # a test part, a validation part, and a training part
_MOST: Final = 100


class FoldComparison(Protocol):
    """A function that compares the remedies of a recipe in a directory."""

    def __call__(
        self,
        recipe: Recipe,
        *,
        directory: Path,
        progress: Progress | None,
        run_ended: RunEnded | None,
        planned: Planned | None,
    ) -> Comparison: ...


def checked_folds(base: Recipe, folds: int | None, budget: float | None) -> int | None:
    """Return the number of folds; None without folds.

    Raises:
        ArgumentError: If it is out of range, or there is a budget.
    """
    if folds is None:
        folds = None if base.compare is None else base.compare.folds
    if folds is None:
        return None
    number = whole_number("folds", folds, least=_LEAST, most=_MOST)
    if budget is not None:
        raise ArgumentError(
            f"budget={budget!r} with folds={number}",
            expected="one of them: in a race, folds would stop different remedies",
            fix="leave out the budget, or the folds",
        )
    return number


def fold_names(count: int) -> list[str]:
    """Return the names of the folds' directories."""
    return [f"fold-{number}-of-{count}" for number in range(1, count + 1)]


def compare_in_folds(
    base: Recipe,
    count: int,
    root: Path,
    compare: FoldComparison,
    *,
    fetch: bool,
    progress: Progress | None,
    run_ended: RunEnded | None,
    planned: Planned | None,
) -> list[Comparison]:
    """Compare remedies in each fold.

    Args:
        base: Recipe that the remedies have in common.
        count: Number of folds.
        root: Directory of the comparison.
        compare: See `FoldComparison`.
        fetch, progress, run_ended, planned: See `tailfit.compare`. Remedies are named with their fold.
    Raises:
        ArgumentError: If there are too few samples or groups, in all or of a class.
    """
    partitions = fold_partitions(base, count, fetch)  # all of them are checked before any training
    plan: dict[tuple[str, int], int] = {}
    found = []
    for number, (name, partition) in enumerate(zip(fold_names(count), partitions, strict=True), start=1):
        place = root / name
        make_folder(place)
        _write(place / "partition.json", partition)
        found.append(
            compare(
                _recipe_of_fold(base, place / "partition.json"),
                directory=place,
                progress=None if progress is None else partial(_epoch_of_fold, progress, number),
                run_ended=None if run_ended is None else partial(_end_of_fold, run_ended, number),
                planned=None if planned is None else partial(_plan_of_folds, planned, plan, number, count),
            )
        )
    return found


def pooled(folds: Sequence[Comparison], part: str) -> dict[str, list[Evaluation]]:
    """Return the evaluations of each remedy and seed on the samples of all folds, in their order.

    Args:
        folds: The comparison of each fold.
        part: `evaluations` or `validation`.
    """
    first = getattr(folds[0], part)
    return {
        name: [_joined([getattr(each, part)[name][seed] for each in folds]) for seed in range(len(first[name]))]
        for name in first
    }


def _joined(parts: Sequence[Evaluation]) -> Evaluation:
    first = parts[0]
    groups: list[str] | None = None
    if all(each.groups is not None for each in parts):
        groups = [each.groups.names[k] for each in parts if each.groups is not None for k in each.groups.index.tolist()]
    counts = [each.train_counts for each in parts if each.train_counts is not None]
    return evaluate(
        np.concatenate([each.y_true for each in parts]),
        np.concatenate([each.y_pred for each in parts]),
        first.class_names,
        np.mean(counts, axis=0) if len(counts) == len(parts) else None,
        groups=groups,
        confidence=first.confidence,
        resamples=first.resamples,
        seed=first.seed,
        name=first.name,
    )


def _recipe_of_fold(base: Recipe, partition: Path) -> Recipe:
    changes = {
        "data.partition": Path(os.path.relpath(partition, base.folder.resolve())).as_posix(),
        "data.split": None,
        "data.train_only": None,
        "compare": None,
    }
    return load_recipe(with_changes(base.document, changes), modules=base.modules, folder=base.folder)


def _write(path: Path, partition: Any) -> None:
    text = json.dumps(partition, indent=0)
    if not path.is_file() or read_text(path, MOST_JSON) != text:
        write_text(path, text)


def _of_fold(remedy: str, number: int) -> str:
    return f"{remedy}, fold {number}"


def _epoch_of_fold(progress: Progress, number: int, remedy: str, seed: int, epoch: int, figures: Any) -> None:
    progress(_of_fold(remedy, number), seed, epoch, figures)


def _end_of_fold(run_ended: RunEnded, number: int, remedy: str, seed: int, figures: Any) -> None:
    run_ended(_of_fold(remedy, number), seed, figures)


def _plan_of_folds(planned: Planned, plan: Any, number: int, count: int, epochs: Any) -> None:
    """Report the plan of a fold, assuming the same plan for the later folds."""
    for later in range(number, count + 1):
        plan.update({(_of_fold(remedy, later), seed): each for (remedy, seed), each in epochs.items()})
    planned(plan)
