"""`comparison`: several remedies, each trained with the same seeds, measured on the same samples; which one helps?

Two kinds of chance stand between one number and the next: other test samples would have been drawn, and another
training would have ended elsewhere (Bouthillier et al. 2021, arXiv:2103.03098). For a mean over S seeds they add up,
by the law of total variance:

- *test part*: how the mean over the seeds would move with other test samples: its variance over resamples of the test
  set, the same ones for all remedies and seeds, smoothed as in `tailfit.evaluation.intervals`;
- *seed part*: the variance over the seeds on the test set as it is, divided by S, known with S - 1 degrees of freedom.

Either end of an interval is mean ± √(test² + seed²): both are half widths of intervals of their own, the test part with
the normal quantile, the seed part with Student's t for S - 1 degrees of freedom (Howe 1974, J. Am. Stat. Assoc.
69, 789; Zou & Donner 2008, doi:10.1002/sim.3095). One t for the sum, with Satterthwaite's degrees of freedom (1946,
doi:10.2307/3002019), would be narrower, and too narrow where seeds are few.

A recall's test part is not symmetric: Jeffreys' limits of both recalls, combined for their difference by the
correlation of their samples (Zou & Donner). Where trainings disagree about samples the limits are scaled to
what the mean over seeds really varies by. So 3 of 3 right beside 0 of 3 is no evidence, whatever the number of seeds.

Differences to the baseline are paired, by seed and by sample. With K remedies beside the baseline their intervals hold
together (Bonferroni: each at 1 - (1 - confidence) / K; of recalls, over the C classes as well).

With one seed there is no seed part: intervals then speak of these very models, and of no other training. Where
trainings disagree about samples, that counts in both parts: wider than needed.

Smallest recalls and geometric means over the seeds are shown with their range, and without an interval: the mean of
minima says little of the minimum of means.

Measured coverage of 95 % intervals of the difference in balanced accuracy (400 trials): 60 samples a class and
trainings that scatter, with 2, 3, 5, 10 seeds: 98, 98, 97, 98 %; 120 down to 4 samples: 99 to 100 %; trainings that
hardly differ: 98 % with 3 and 93 % with 10. With one seed 85 % of the differences that other trainings would have had.
All differences in recall of 10 classes hold together in 95 to 99 %, with four classes of 3 to 5 samples and recalls of
1/2; in 93 % with 10 seeds that hardly differ, recalls of 0.95 down to 0.4.
`tests/plain/evaluation/test_comparison.py` repeats all but the last.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.special import ndtri, stdtrit

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.comparison_report import comparison_page
from tailfit.evaluation.comparison_table import comparison_table
from tailfit.evaluation.evaluation import Evaluation
from tailfit.evaluation.files import json_fields, write_text
from tailfit.evaluation.intervals import deviations, generator, jeffreys
from tailfit.evaluation.metrics import OVERALL, Figure
from tailfit.evaluation.tables import as_text

__all__ = ["Comparison", "Verdict", "comparison"]

Verdict = Literal["helps", "hurts", "undecided"]
_FORMAT: Final = {"format": "tailfit.comparison", "version": 1}
_SMOOTH: Final = ("balanced_accuracy", "macro_f1", "accuracy")  # of which a mean over seeds has an interval
_UNKNOWN: Final = Figure(math.nan, math.nan, math.nan)  # recall of a class without test samples
_MOST_RESAMPLES: Final = 100_000  # memory goes with them, and a file may ask for any number


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Remedies beside each other; made by `comparison`, equal where the JSON is equal.

    Attributes:
        evaluations: Of each remedy, one for each seed, by name.
        seeds: Of the trainings.
        baseline: The remedy that the others are compared to.
        confidence: Of the intervals: of each figure, and of all differences to the baseline together.
        resamples: Of the test part.
        figures: Of each remedy, by `balanced_accuracy`, `macro_f1` and `accuracy`: the mean over the seeds.
        ranges: Of each remedy and every figure: the mean over the seeds, from the lowest to the highest.
        differences: Of each remedy but the baseline: remedy minus baseline, by the names of `figures`.
        recalls: Of each remedy: each class' recall, the mean over the seeds.
        recall_differences: Of each remedy but the baseline: each class' difference.

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
    seeds: tuple[int, ...]
    baseline: str
    confidence: float
    resamples: int
    figures: Mapping[str, Mapping[str, Figure]]
    ranges: Mapping[str, Mapping[str, Figure]]
    differences: Mapping[str, Mapping[str, Figure]]
    recalls: Mapping[str, tuple[Figure, ...]]
    recall_differences: Mapping[str, tuple[Figure, ...]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the codes."""
        return self.evaluations[self.baseline][0].class_names

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Of each remedy but the baseline, whether balanced accuracy says that it helps, beyond chance."""
        return {name: _verdict(gains["balanced_accuracy"]) for name, gains in self.differences.items()}

    def table(self) -> Table:
        """A table for `rich.print`; `str(comparison)` is the same as plain text."""
        return comparison_table(self)

    def __str__(self) -> str:
        return as_text(self.table(), width=110)

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.evaluations)} remedies, {len(self.seeds)} seeds: {self.verdicts}>"

    @cached_property
    def _json(self) -> str:
        fields = {
            **_FORMAT,
            "seeds": self.seeds,
            "baseline": self.baseline,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "verdicts": self.verdicts,
            "figures": {name: _plain(figures) for name, figures in self.figures.items()},
            "differences": {name: _plain(gains) for name, gains in self.differences.items()},
            "evaluations": {
                name: [json.loads(each.to_json()) for each in found] for name, found in self.evaluations.items()
            },
        }
        return json.dumps(fields, allow_nan=False, separators=(",", ":"))

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Comparison) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """All of it as JSON, for `from_json` and for other programs; the evaluations whole."""
        return self._json

    @classmethod
    def from_json(cls, text: str) -> "Comparison":
        """The comparison that `to_json` wrote, its figures computed again from the evaluations.

        Raises:
            DataError: if the text is not one.
        """
        fix = "pass the whole text that Comparison.to_json returned"
        try:
            fields = json_fields(text, _FORMAT, fix)
            return comparison(
                {
                    name: [Evaluation.from_json(json.dumps(each)) for each in found]
                    for name, found in fields["evaluations"].items()
                },
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
                f"JSON of a comparison with {type(error).__name__}: {error}",
                expected="every field that Comparison.to_json writes",
                fix=fix,
            ) from error

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to a file, whole or not at all; its path."""
        return write_text(path, self.to_json())

    def to_html(self, *, title: str = "Which remedy helps?", details: Mapping[str, object] | None = None) -> str:
        """A self-contained page without script.

        Args:
            title: Of the page.
            details: Facts for its foot, by name; versions are added.
        """
        return comparison_page(self, title=title, details=details)

    def save_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write `to_html` to a file, whole or not at all; its path."""
        return write_text(path, self.to_html(**options))


def comparison(
    evaluations: Mapping[str, Sequence[Evaluation]],
    *,
    seeds: Sequence[int] | None = None,
    baseline: str | None = None,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Comparison:
    """Compare remedies that were trained with the same seeds and measured on the same test samples.

    Args:
        evaluations: Of each remedy by name, one for each seed in the same order.
        seeds: Of the trainings; 0, 1, ... without it.
        baseline: The remedy that the others are compared to; the first without it.
        confidence: Of the intervals, in (0, 1).
        resamples: Of the test set.
    Raises:
        ArgumentError: for nothing to compare, unequal numbers of seeds, an unknown baseline, options out of range.
        DataError: for evaluations of other classes or test samples.
    Source: see `tailfit.evaluation.comparison`.

    >>> from tailfit import evaluate
    >>> one = [evaluate([0, 0, 1, 1], [0, 1, 1, 1])]
    >>> comparison({"a": one, "b": one}).verdicts  # one seed: of these models only
    {'b': 'undecided'}
    """
    found = _checked(evaluations)
    names = list(found)
    number = len(found[names[0]])
    chosen = _checked_seeds(seeds, number)
    first = names[0] if baseline is None else baseline
    if not isinstance(first, str) or first not in found:
        raise ArgumentError(f"baseline={baseline!r}", expected=", ".join(map(repr, names)), fix="name one of these")
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 < confidence < 1:
        raise ArgumentError(f"confidence={confidence!r}", expected="a number between 0 and 1", fix="use 0.95")
    if isinstance(resamples, bool) or not isinstance(resamples, int) or not 100 <= resamples <= _MOST_RESAMPLES:
        raise ArgumentError(
            f"resamples={resamples!r}", expected=f"a whole number from 100 to {_MOST_RESAMPLES}", fix="use 1000"
        )
    others = [name for name in names if name != first]
    measured = _Measured(found, resamples)
    together = 1 - (1 - confidence) / max(len(others), 1)
    by_class = 1 - (1 - confidence) / max(len(others) * measured.num_classes, 1)
    return Comparison(
        evaluations=found,
        seeds=chosen,
        baseline=first,
        confidence=confidence,
        resamples=resamples,
        figures={name: {key: measured.mean(name, key, confidence) for key in _SMOOTH} for name in names},
        ranges={name: {key: measured.range(name, key) for key in OVERALL} for name in names},
        differences={
            name: {key: measured.difference(name, first, key, together) for key in _SMOOTH} for name in others
        },
        recalls={name: measured.recalls(name, confidence) for name in names},
        recall_differences={name: measured.recall_differences(name, first, by_class) for name in others},
    )


class _Measured:
    """Figures of all trainings, and how they move with the test samples."""

    def __init__(self, found: Mapping[str, tuple[Evaluation, ...]], resamples: int) -> None:
        self.number = len(next(iter(found.values())))
        places = np.arange(len(found) * self.number).reshape(len(found), self.number)
        self._of = dict(zip(found, places, strict=True))
        every = [each for evaluations in found.values() for each in evaluations]
        self.y_true, self.num_classes = every[0].y_true, len(every[0].class_names)
        self._predictions = np.stack([each.y_pred for each in every])
        self._order = np.argsort(self.y_true, kind="stable")
        self._ends = np.cumsum(np.bincount(self.y_true, minlength=self.num_classes))[:-1]
        # Trainings of one remedy meet the same invented samples: they would err alike.
        groups = [list(map(int, place)) for place in places]
        self._value, self._deviation = deviations(
            self.y_true, self._predictions, self.num_classes, resamples, generator(0), groups
        )

    def mean(self, name: str, key: str, confidence: float) -> Figure:
        place = self._of[name]
        values, moved = self._value[key][place], self._deviation[key][place].mean(axis=0)
        return self._interval(values, float(moved.var()), confidence, 0.0)

    def range(self, name: str, key: str) -> Figure:
        values = self._value[key][self._of[name]]
        return Figure(float(values.mean()), float(values.min()), float(values.max()))

    def difference(self, name: str, baseline: str, key: str, confidence: float) -> Figure:
        new, old = self._of[name], self._of[baseline]
        values = self._value[key][new] - self._value[key][old]
        moved = (self._deviation[key][new] - self._deviation[key][old]).mean(axis=0)
        return self._interval(values, float(moved.var()), confidence, -1.0)

    def recalls(self, name: str, confidence: float) -> tuple[Figure, ...]:
        figures = []
        for right in self._right(name):
            if not right.shape[1]:
                figures.append(_UNKNOWN)
                continue
            of = _Recall(right, confidence)
            figures.append(self._widened(right.mean(axis=1), of.below, of.above, confidence, 0.0))
        return tuple(figures)

    def recall_differences(self, name: str, baseline: str, confidence: float) -> tuple[Figure, ...]:
        figures = []
        for right, before in zip(self._right(name), self._right(baseline), strict=True):
            if not right.shape[1]:
                figures.append(_UNKNOWN)
                continue
            new, old = _Recall(right, confidence), _Recall(before, confidence)
            alike = new.correlation(old)
            below = _combined(new.below, old.above, alike)
            above = _combined(new.above, old.below, alike)
            figures.append(self._widened(right.mean(axis=1) - before.mean(axis=1), below, above, confidence, -1.0))
        return tuple(figures)

    def _right(self, name: str) -> list[NDArray[np.float64]]:
        """Of each class, whether each seed (rows) was right of each of its samples (columns)."""
        right = (self._predictions[self._of[name]] == self.y_true).astype(np.float64)
        return np.split(right[:, self._order], self._ends, axis=1)

    def _interval(self, values: NDArray[Any], test_part: float, confidence: float, least: float) -> Figure:
        half = float(ndtri((1 + confidence) / 2)) * math.sqrt(test_part)
        return self._widened(values, half, half, confidence, least)

    def _widened(self, values: NDArray[Any], below: float, above: float, confidence: float, least: float) -> Figure:
        """The mean over seeds; the distances of its ends, so far of the test part, widened by the seed part."""
        wide = 0.0
        if self.number > 1:
            quantile = float(stdtrit(self.number - 1, (1 + confidence) / 2))
            wide = quantile * float(values.std(ddof=1)) / math.sqrt(self.number)
        value = float(values.mean())
        return Figure(value, max(least, value - math.hypot(below, wide)), min(1.0, value + math.hypot(above, wide)))


class _Recall:
    """One class' recall, the mean over seeds: the test part of its interval, as distances."""

    def __init__(self, right: NDArray[np.float64], confidence: float) -> None:
        self._each, self._number = right.mean(axis=0), right.shape[1]
        hits, support = np.array([self._each.sum()]), np.array([float(self._number)])
        low, high = jeffreys(hits, support, confidence)
        # With one invented sample, right or wrong by chance, as in Jeffreys' prior and in the resamples.
        self._mean = (float(hits[0]) + 0.5) / (self._number + 1)
        self._variance = (float(np.square(self._each).sum()) + 0.5) / (self._number + 1) - self._mean**2
        # Trainings that err alike have the variance of one; those that don't, a smaller one.
        scale = math.sqrt(self._variance / (self._mean * (1 - self._mean)))
        value = float(hits[0]) / self._number
        self.below, self.above = scale * (value - float(low[0])), scale * (float(high[0]) - value)

    def correlation(self, other: "_Recall") -> float:
        """Between the samples of both; their invented ones are independent."""
        together = (float(self._each @ other._each) + 0.25) / (self._number + 1)
        return float((together - self._mean * other._mean) / math.sqrt(self._variance * other._variance))


def _combined(one: float, other: float, alike: float) -> float:
    """Half width of a difference, from those of both sides and their correlation."""
    return math.sqrt(max(one**2 + other**2 - 2 * alike * one * other, 0.0))


def _checked(evaluations: Any) -> dict[str, tuple[Evaluation, ...]]:
    if not isinstance(evaluations, Mapping) or not evaluations:
        raise ArgumentError(
            f"evaluations of type {type(evaluations).__name__}" if evaluations else "no remedy",
            expected="a dict of lists of evaluations, by remedy",
            fix="pass {'plain': [...], 'tailored': [...]}",
        )
    found: dict[str, tuple[Evaluation, ...]] = {}
    for name, several in evaluations.items():
        each = tuple(several) if isinstance(several, list | tuple) else ()
        if not isinstance(name, str) or not each or not all(isinstance(one, Evaluation) for one in each):
            raise ArgumentError(
                f"the remedy {name!r} with {several!r:.60}",
                expected="a name, and a list of one evaluation a seed",
                fix="pass what tailfit.evaluate returned for each training",
            )
        found[name] = each
    (heading, first), *others = found.items()
    for name, each in others:
        if len(each) != len(first):
            raise ArgumentError(
                f"{len(each)} evaluations of {name!r} and {len(first)} of {heading!r}",
                expected="the same seeds for each remedy",
                fix="train all of them with all seeds",
            )
    for name, each in found.items():
        for one in each:
            alike = one.class_names == first[0].class_names and np.array_equal(one.y_true, first[0].y_true)
            if not alike:
                raise DataError(
                    f"evaluations of {heading!r} and {name!r} of other classes or test samples",
                    expected="the same test samples, in the same order",
                    fix="measure all trainings on one test set",
                )
    return found


def _checked_seeds(seeds: Any, number: int) -> tuple[int, ...]:
    if seeds is None:
        return tuple(range(number))
    given = seeds.tolist() if isinstance(seeds, np.ndarray) else seeds
    chosen = tuple(given) if isinstance(given, list | tuple | range) else ()
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool) for seed in chosen)
    if not whole or len(chosen) != number or len(set(chosen)) != number:
        raise ArgumentError(
            f"seeds={seeds!r:.60} of {number} evaluations",
            expected="a different whole number for each",
            fix="pass those trained with",
        )
    return tuple(map(int, chosen))


def _verdict(gain: Figure) -> Verdict:
    return "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "undecided"


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {key: {"value": float(each), "low": each.low, "high": each.high} for key, each in figures.items()}
