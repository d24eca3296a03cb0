"""The runs of a comparison: which of them are trained, how far, and what was measured."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailfit.errors import CheckpointError
from tailfit.evaluation import Evaluation
from tailfit.evaluation.costs import MeanCosts, checked_costs
from tailfit.evaluation.deciding import DecideOn, Stopped, key_of
from tailfit.recipes.racing import FIRST_EPOCHS, Pace, Race, Round, race
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.remedies import changes_late, folder_name
from tailfit.recipes.reports import complete_report
from tailfit.recipes.rounds import read_pace, read_round
from tailfit.recipes.runs import Planned, RunOfComparison
from tailfit.recipes.training import Measured, finished_evaluations
from tailfit.recipes.trainings import Trainings

__all__ = ["ComparisonRuns"]

_Runs = dict[tuple[str, int], RunOfComparison]


@dataclass(eq=False)
class ComparisonRuns:
    """The runs of a comparison in its directory.

    Attributes:
        recipes: Recipe of each remedy, by name.
        seeds: The seeds.
        root: Directory of the comparison.
        trainings: How runs are trained.
        decide_on, costs: See `tailfit.compare`.
        planned: See `tailfit.compare`.
    """

    recipes: Mapping[str, Recipe]
    seeds: Sequence[int]
    root: Path
    trainings: Trainings
    decide_on: DecideOn
    costs: Any
    planned: Planned | None
    _runs: _Runs = field(default_factory=dict)
    _found: dict[tuple[str, int], Measured | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Seeds first, so that an interrupted comparison has runs of every remedy.
        for seed, (number, (name, recipe)) in itertools.product(self.seeds, enumerate(self.recipes.items())):
            own = recipe.model_copy(update={"seed": seed, "name": name, "compare": None})
            place = self.root / f"{number:02d}-{folder_name(name)}" / f"seed-{seed}"
            self._runs[name, seed] = RunOfComparison(name, own, place)
        for key, run in self._runs.items():
            self._found[key] = finished_evaluations(run.recipe, run.place, self.trainings.data)

    @property
    def finished(self) -> bool:
        """Whether all runs have been trained to the end."""
        return all(self._found.values())

    def train(self, names: Sequence[str]) -> dict[str, list[Measured]]:
        """Train remedies with all seeds to the end, and return what was measured, in the order of the seeds."""
        self._plan(names, [Round(len(names), 1.0, len(self.seeds))])
        runs = self._of(names, len(self.seeds))
        for run in runs:
            measured = self._found[run.remedy, run.seed]
            if measured is not None:
                complete_report(run.place)
                self.trainings.report(run)
        self.trainings.train([run for run in runs if self._found[run.remedy, run.seed] is None])
        self._read(runs)
        return {name: [self._measured(name, seed) for seed in self.seeds] for name in names}

    def race(self, budget: float) -> tuple[list[str], list[Stopped]]:
        """Race the remedies within a budget, and return those that are left, and those that were stopped.

        Args:
            budget: Budget in minutes.
        """
        names = list(self.recipes)
        epochs = {name: recipe.epochs for name, recipe in self.recipes.items()}
        plan = Race.read(self.root, names)
        if plan is None or plan.budget != budget:
            paces = self._paces(names) if plan is None else plan.paces
            plan = Race.planned(budget, self.trainings.cores(), paces, epochs, len(self.seeds))
            plan.write(self.root)
        for run in self._runs.values():
            (run.place / "seconds.json").unlink(missing_ok=True)  # race.json contains the paces now
        rounds = plan.rounds

        def measure(left: Sequence[str], now: Round) -> dict[str, float]:
            self._plan(left, rounds[rounds.index(now) :])
            return self._figures(left, now)

        late = [name for name in names if changes_late(self.recipes[name])]
        return race(rounds, epochs, measure, late=late, lower_is_better=self.decide_on == "cost")

    def _paces(self, names: Sequence[str]) -> dict[str, Pace]:
        """Measure the pace of each remedy on its first epochs."""
        first = [self._runs[name, self.seeds[0]] for name in names]
        self._plan(names, [Round(len(names), 1.0, 1)])
        runs = [
            replace(run, until=min(FIRST_EPOCHS, run.recipe.epochs), timed=True)
            for run in first
            if self._found[run.remedy, run.seed] is None and read_pace(run.place) is None
        ]
        self.trainings.train(runs)
        self._read(first)
        paces = {run.remedy: read_pace(run.place) for run in first}
        known = [pace for pace in paces.values() if pace is not None]
        slowest = max(known, key=lambda pace: pace.epoch, default=Pace(0.0, 0.0))
        return {name: pace or slowest for name, pace in paces.items()}

    def _figures(self, names: Sequence[str], now: Round) -> dict[str, float]:
        """Train remedies for a round, and return the deciding figure of each: the mean over the seeds."""
        runs = [self._until(run, now) for run in self._of(names, now.seeds)]
        self.trainings.train([run for run in runs if self._validation(run) is None])
        self._read(runs)
        figures: dict[str, list[float]] = {}
        for run in runs:
            evaluation = self._validation(run)
            if evaluation is None:
                raise _changed(run)
            figures.setdefault(run.remedy, []).append(self._figure(evaluation))
        return {name: float(np.mean(values)) for name, values in figures.items()}

    def _figure(self, evaluation: Evaluation) -> float:
        if self.decide_on == "cost":
            matrix = checked_costs(self.costs, len(evaluation.class_names))
            return float(MeanCosts(evaluation.y_true, evaluation.y_pred[np.newaxis], matrix, None).values[0])
        return float(evaluation.overall[key_of(self.decide_on)])

    def _until(self, run: RunOfComparison, now: Round) -> RunOfComparison:
        epochs = now.epochs(run.recipe.epochs)
        return replace(run, until=epochs) if epochs < run.recipe.epochs else run

    def _validation(self, run: RunOfComparison) -> Evaluation | None:
        """Return the evaluation of a run on the validation part, after the epochs of its round."""
        if run.until is not None:
            found = read_round(run.place, run.recipe, self.trainings.data, run.until)
            if found is not None:
                return found
        measured = self._found[run.remedy, run.seed]
        return None if measured is None else measured.validation

    def _of(self, names: Sequence[str], seeds: int) -> list[RunOfComparison]:
        return [self._runs[name, seed] for seed in self.seeds[:seeds] for name in names]

    def _read(self, runs: Iterable[RunOfComparison]) -> None:
        for run in runs:
            key = run.remedy, run.seed
            self._found[key] = self._found[key] or finished_evaluations(run.recipe, run.place, self.trainings.data)

    def _measured(self, name: str, seed: int) -> Measured:
        measured = self._found[name, seed]
        if measured is None:
            raise _changed(self._runs[name, seed])
        return measured

    def _plan(self, left: Sequence[str], rounds: Sequence[Round]) -> None:
        """Report the planned epochs of each run, assuming that the first remedies go on to the later rounds."""
        if self.planned is None:
            return
        epochs: dict[tuple[str, int], int] = {}
        for each in rounds:
            for run in self._of(left[: each.remedies] if each is not rounds[0] else left, each.seeds):
                epochs[run.remedy, run.seed] = each.epochs(run.recipe.epochs)
        self.planned(epochs)


def _changed(run: RunOfComparison) -> CheckpointError:
    return CheckpointError(
        f"{run.place}, whose results have changed since they were written",
        expected="the files as tailfit wrote them",
        fix="run the same command again, which trains this run again",
    )
