"""`comparison`: which remedy helps? Evaluations of several trainings in, a `Comparison` out.

`tailfit.evaluation.comparison_statistics` explains the intervals.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.table import Table

from tailfit.arguments import whole_number
from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.comparison_figures import READABLE, ComparisonFigures
from tailfit.evaluation.comparison_report import comparison_overview, comparison_page
from tailfit.evaluation.comparison_statistics import SeedMeans
from tailfit.evaluation.comparison_table import comparison_table
from tailfit.evaluation.costs import CostMatrix, checked_costs
from tailfit.evaluation.deciding import DecideOn, Stopped, check_decide_on, decide
from tailfit.evaluation.evaluation import Evaluation
from tailfit.evaluation.figures import fault_text
from tailfit.evaluation.inputs import MOST_RESAMPLES, check_confidence
from tailfit.evaluation.metrics import OVERALL
from tailfit.evaluation.nested import nested_choice
from tailfit.evaluation.tables import as_text
from tailfit.storage.json_text import fields_of
from tailfit.storage.writing import write_text

__all__ = ["Comparison", "comparison"]

# Fields that version 1 does not have.
_ADDED: Final[dict[str, Any]] = {
    "validation": None,
    "decide_on": "balanced_accuracy",
    "costs": None,
    "stopped": [],
    "left_out": {},
}
_WITH_INTERVAL: Final = ("balanced_accuracy", "macro_f1", "accuracy")  # the others are shown with their range


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison(ComparisonFigures):
    """The figures of several remedies, with their table, JSON and page; made by `comparison`.

    Two comparisons are equal if their JSON is equal.

    Attributes:
        evaluations: The evaluations of each remedy, one for each seed, by name.
        seeds: Seeds of the trainings.
        baseline: The remedy that the others are compared with.
        confidence: Confidence level of each figure, and of all differences to the baseline simultaneously.
        resamples: Number of resamples of the test set.
        figures: `balanced_accuracy`, `macro_f1` and `accuracy` of each remedy: means over the seeds.
        ranges: Every figure of each remedy: the mean over the seeds, with the smallest and the largest value.
        differences: The same keys as `figures`, remedy minus baseline, for each remedy except the baseline.
        recalls: The recall of each class for each remedy: means over the seeds.
        recall_differences: The same, remedy minus baseline, for each remedy except the baseline.
        validation: Evaluations of the same trainings on the validation samples, by remedy; or None.
        decide_on: Figure that decides which remedy is chosen.
        costs: Cost matrix, if the mean cost decides.
        decision: The choice on the validation samples, see `tailfit.evaluation.deciding`; None without such samples.
        stopped: Remedies that a race has stopped.
        left_out: Remedies of a suite that do not fit the data, each with the reason.
        nested: If the data were divided into folds, what was chosen in each of them, and what that is worth; see
            `tailfit.evaluation.nested`.

    >>> from tailfit import evaluate
    >>> y = [0] * 80 + [1] * 20
    >>> plain = [evaluate(y, [0] * 100, seed=seed) for seed in (0, 1)]
    >>> tailored = [evaluate(y, [0] * 78 + [1] * 22, seed=seed) for seed in (0, 1)]
    >>> result = comparison({"plain": plain, "tailored": tailored})
    >>> result.verdicts, round(float(result.differences["tailored"]["balanced_accuracy"]), 4)
    ({'tailored': 'helps'}, 0.4875)
    >>> Comparison.from_json(result.to_json()) == result
    True
    """

    evaluations: Mapping[str, tuple[Evaluation, ...]]
    validation: Mapping[str, tuple[Evaluation, ...]] | None = None

    def table(self) -> Table:
        """Return a table for `rich.print`; `str(comparison)` is the same table as plain text."""
        return comparison_table(self)

    def __str__(self) -> str:
        return as_text(self.table(), width=110)

    def _repr_html_(self) -> str:
        return comparison_overview(self)

    @classmethod
    def from_json(cls, text: str) -> "Comparison":
        """Read what `to_json` wrote; the figures are computed again from the evaluations.

        Raises:
            DataError: If the text is not the JSON of a comparison.
        """
        fix = "pass the whole text that Comparison.to_json returned"
        try:
            fields = fields_of(text, READABLE, fix)
            if fields["version"] == 1:
                fields = {**fields, **_ADDED}
            measured = {key: fields[key] and _evaluations_of(fields[key]) for key in ("evaluations", "validation")}
            return comparison(
                measured["evaluations"],
                measured["validation"],
                decide_on=fields["decide_on"],
                costs=fields["costs"],
                stopped=[Stopped.of(each) for each in fields["stopped"]],
                left_out={str(name): str(reason) for name, reason in fields["left_out"].items()},
                folds=fields.get("folds"),
                seeds=fields["seeds"],
                baseline=fields["baseline"],
                confidence=fields["confidence"],
                resamples=fields["resamples"],
            )
        except DataError:
            raise
        except (
            ArgumentError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RecursionError,
            OverflowError,
        ) as error:
            raise DataError(
                f"JSON of a comparison with a fault: {fault_text(error)}",
                expected="every field as Comparison.to_json writes it",
                fix=fix,
            ) from error

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to a file, atomically, and return its path."""
        return write_text(path, self.to_json())

    def to_html(self, *, title: str = "Which remedy helps?", details: Mapping[str, object] | None = None) -> str:
        """Return a self-contained page without scripts.

        Args:
            title: Title of the page.
            details: Facts for the foot of the page, by name; versions are added.
        """
        return comparison_page(self, title=title, details=details)

    def save_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write `to_html` to a file, atomically, and return its path."""
        return write_text(path, self.to_html(**options))


def comparison(
    evaluations: Mapping[str, Sequence[Evaluation]],
    validation: Mapping[str, Sequence[Evaluation]] | None = None,
    *,
    seeds: Sequence[int] | None = None,
    baseline: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
    decide_on: DecideOn = "balanced_accuracy",
    costs: Any = None,
    stopped: Sequence[Stopped] = (),
    left_out: Mapping[str, str] | None = None,
    folds: Sequence[tuple[str, int]] | None = None,
) -> Comparison:
    """Compare remedies that were trained with the same seeds and measured on the same test samples.

    Args:
        evaluations: The evaluations of each remedy by name, one for each seed in the same order. List simple remedies
            first: of remedies that are about equally good, the first is chosen.
        validation: Evaluations of the same trainings on validation samples, in the same form. With them the remedy is
            chosen, see `tailfit.evaluation.deciding`. At least two seeds are needed.
        seeds: Seeds of the trainings; 0, 1, ... by default.
        baseline: Name of the remedy that the others are compared with; the first by default.
        confidence: Confidence level of the intervals, in (0, 0.99998].
        resamples: Number of resamples of the test set, from 100 to 100,000.
        decide_on: Figure that decides: "balanced_accuracy", "macro_f1", "worst_class" (the smallest recall) or "cost".
        costs: For "cost": the cost of each prediction, a row for each true class, a column for each predicted class.
        stopped: Remedies that a race has stopped.
        left_out: Remedies that were not trained, each with the reason.
        folds: If the samples are those of several folds: the choice in each fold and its number of test samples, in
            their order; see `tailfit.evaluation.nested`.
    Raises:
        ArgumentError: If there is nothing to compare, the numbers of seeds differ, the baseline is unknown, or an
            option is out of range; or with `validation`, there is one seed only.
        DataError: If the classes or the samples differ.
    Source: see `tailfit.evaluation.comparison_statistics`.

    >>> from tailfit import evaluate
    >>> one = [evaluate([0, 0, 1, 1], [0, 1, 1, 1])]
    >>> comparison({"a": one, "b": one}).verdicts  # one seed: a verdict on these two models only
    {'b': 'undecided'}
    >>> y, skewed = [0] * 80 + [1] * 20, [0] * 98 + [1] * 2
    >>> measured = {"plain": [evaluate(y, skewed)] * 2, "tailored": [evaluate(y, y)] * 2}
    >>> decided = comparison(measured, validation=measured)
    >>> decided.chosen, decided.reasons[0]
    ('tailored', "'tailored' has the best balanced accuracy on the 100 validation samples (1.000), and no simpler ...")
    """
    checked = _checked(evaluations)
    names = list(checked)
    baseline = names[0] if baseline is None else baseline
    if not isinstance(baseline, str) or baseline not in checked:
        raise ArgumentError(
            f"baseline={baseline!r}", expected=f"one of {', '.join(map(repr, names))}", fix="pass the name of a remedy"
        )
    check_confidence(confidence)
    resamples = whole_number("resamples", resamples, least=100, most=MOST_RESAMPLES)
    others = [name for name in names if name != baseline]
    matrix = _checked_decision(decide_on, costs, len(checked[baseline][0].class_names))
    means = SeedMeans(checked, resamples, matrix)
    measured = None if validation is None else _checked_validation(validation, checked)
    decision = None
    if measured is not None:
        options: Any = {"baseline": baseline, "decide_on": decide_on, "confidence": confidence}
        decision = decide(SeedMeans(measured, resamples, matrix), means, names, **options)
    # Bonferroni: all differences hold simultaneously.
    level_of_figures = 1 - (1 - confidence) / max(len(others), 1)
    level_of_recalls = 1 - (1 - confidence) / max(len(others) * means.num_classes, 1)
    return Comparison(
        evaluations=checked,
        seeds=_checked_seeds(seeds, len(checked[baseline])),
        baseline=baseline,
        confidence=float(confidence),
        resamples=resamples,
        figures={name: {key: means.mean(name, key, confidence) for key in _WITH_INTERVAL} for name in names},
        ranges={name: {key: means.range(name, key) for key in OVERALL} for name in names},
        differences={
            name: {key: means.difference(name, baseline, key, level_of_figures) for key in _WITH_INTERVAL}
            for name in others
        },
        recalls={name: means.recalls(name, confidence) for name in names},
        recall_differences={name: means.recall_differences(name, baseline, level_of_recalls) for name in others},
        validation=measured,
        decide_on=decide_on,
        costs=matrix,
        decision=decision,
        stopped=tuple(stopped),
        left_out=dict(left_out or {}),
        nested=None
        if folds is None
        else nested_choice(
            checked,
            folds,
            baseline=baseline,
            decide_on=decide_on,
            confidence=confidence,
            resamples=resamples,
            costs=matrix,
        ),
    )


def _evaluations_of(fields: Any) -> dict[str, list[Evaluation]]:
    return {name: [Evaluation.from_json(json.dumps(each)) for each in of_remedy] for name, of_remedy in fields.items()}


def _checked_decision(decide_on: Any, costs: Any, num_classes: int) -> CostMatrix | None:
    """Check what decides, and return the cost matrix."""
    check_decide_on(decide_on, costs)
    return None if costs is None else checked_costs(costs, num_classes)


def _checked_validation(
    validation: Any, evaluations: Mapping[str, tuple[Evaluation, ...]]
) -> dict[str, tuple[Evaluation, ...]]:
    """Check that evaluations on validation samples belong to the same trainings as those on test samples."""
    checked = _checked(validation, "validation")
    (name, first), *_ = evaluations.items()
    if list(checked) != list(evaluations) or len(checked[name]) != len(first):
        raise ArgumentError(
            f"validation of {len(checked)} remedies ({', '.join(map(repr, checked))}) and "
            f"{len(next(iter(checked.values())))} seeds",
            expected=f"the remedies and seeds of the evaluations: {', '.join(map(repr, evaluations))}, {len(first)} "
            "seeds",
            fix="measure every training on both parts",
        )
    if checked[name][0].class_names != first[0].class_names:
        raise DataError(
            f"validation with the classes {checked[name][0].class_names!r:.80}",
            expected=f"those of the evaluations: {first[0].class_names!r:.80}",
            fix="measure both parts with the same class_names",
        )
    if len(first) < 2:
        raise ArgumentError(
            "validation with one seed",
            expected="at least two seeds, because one training says nothing about the next",
            fix="train each remedy with 5 seeds, for example",
        )
    return checked


def _checked(evaluations: Any, part: str = "test") -> dict[str, tuple[Evaluation, ...]]:
    if not isinstance(evaluations, Mapping) or not evaluations:
        raise ArgumentError(
            f"evaluations of type {type(evaluations).__name__}" if evaluations else "no remedies",
            expected="a dict with a list of evaluations for each remedy",
            fix="pass {'plain': [...], 'tailored': [...]}",
        )
    checked: dict[str, tuple[Evaluation, ...]] = {}
    for name, of_remedy in evaluations.items():
        if not isinstance(name, str):
            raise ArgumentError(
                f"evaluations with the key {name!r}",
                expected="names of remedies as keys",
                fix="use strings such as 'plain' as the keys",
            )
        trainings = tuple(of_remedy) if isinstance(of_remedy, list | tuple) else ()
        if not trainings or not all(isinstance(each, Evaluation) for each in trainings):
            kinds = " and ".join(dict.fromkeys(type(each).__name__ for each in trainings))
            listed = f"a list of {kinds}" if trainings else "an empty list"
            got = listed if isinstance(of_remedy, list | tuple) else f"a value of type {type(of_remedy).__name__}"
            raise ArgumentError(
                f"{got} for the remedy {name!r}",
                expected="a list with one Evaluation for each seed",
                fix="pass [tailfit.evaluate(...), ...], one for each training",
            )
        checked[name] = trainings
    _check_same(checked, part)
    return checked


def _check_same(evaluations: Mapping[str, tuple[Evaluation, ...]], part: str) -> None:
    """Check that remedies have the same number of seeds, classes and samples."""
    (heading, first), *others = evaluations.items()
    for name, trainings in others:
        if len(trainings) != len(first):
            raise ArgumentError(
                f"{len(trainings)} evaluations of {name!r} and {len(first)} of {heading!r}",
                expected="the same seeds for each remedy",
                fix="train every remedy with every seed",
            )
    for name, trainings in evaluations.items():
        for each in trainings:
            if each.class_names != first[0].class_names or not each.same_samples(first[0]):
                raise DataError(
                    f"evaluations of {heading!r} and {name!r} with different classes or {part} samples",
                    expected=f"the same {part} samples, in the same order",
                    fix=f"measure all trainings on one {part} set",
                )


def _checked_seeds(seeds: Any, number: int) -> tuple[int, ...]:
    if seeds is None:
        return tuple(range(number))
    listed = seeds.tolist() if isinstance(seeds, np.ndarray) else seeds
    checked = tuple(listed) if isinstance(listed, list | tuple | range) else ()
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool) for seed in checked)
    if not whole or len(checked) != number or len(set(checked)) != number:
        raise ArgumentError(
            f"seeds={seeds!r:.60} for {number} evaluations of each remedy",
            expected=f"{number} different whole numbers",
            fix="pass the seeds of the trainings, in the order of the evaluations",
        )
    return tuple(map(int, checked))
