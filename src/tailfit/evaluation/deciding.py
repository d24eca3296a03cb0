"""The choice of a remedy: made on validation samples, so that its figure on the test samples stays honest.

The largest of many figures is partly luck. A figure that was used to choose is therefore too good on average, and the
more remedies, the better it looks (`benchmarks/decide` measures by how much). The rule:

1. *figure*: the mean over the seeds of the deciding figure, on the validation samples.
2. *close*: the remedy with the best figure, and all whose paired difference to it is at most one standard error, which
   covers the choice of validation samples and the randomness of training. (The "one-standard-error rule" of Breiman et
   al. 1984, "Classification and Regression Trees", sec. 3.4.3; here with paired errors.)
3. *chosen*: of these the simplest, which is the one that is listed first.

So a remedy must earn its place: plain training wins ties. With a 95 % interval in place of one standard error, the
chosen remedy was three times as far below the best one in a simulation (`benchmarks/decide`), since few seeds make wide
intervals; with the best figure alone, remedies that do nothing were taken in most cases.

How certain the choice is, is a different question, answered with intervals: the differences on the validation samples,
and the difference to the baseline on the test samples, which is a single one and needs no correction for many remedies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from tailfit.errors import ArgumentError
from tailfit.evaluation.comparison_statistics import SeedMeans
from tailfit.evaluation.metrics import Figure

__all__ = [
    "DECIDE_ON",
    "DecideOn",
    "Decision",
    "Stopped",
    "better_first",
    "check_decide_on",
    "close_to",
    "decide",
    "key_of",
]

DecideOn = Literal["balanced_accuracy", "macro_f1", "worst_class", "cost"]
DECIDE_ON: Final[Mapping[str, str]] = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
    "worst_class": "recall of the worst class",
    "cost": "mean cost",
}
"""Figures that can decide, and their names in texts."""
_ONE_STANDARD_ERROR: Final = 0.6827  # confidence level of an interval of one standard error on each side


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The remedy that was chosen on validation samples, and what it gains on the test samples.

    Attributes:
        decide_on: Figure that decided.
        chosen: The chosen remedy.
        best: The remedy with the best figure on the validation samples.
        close: Remedies within one standard error of the best, in the order in which they are listed.
        figures: The deciding figure of each remedy on the validation samples: the mean over the seeds.
        differences: The chosen remedy minus each other one, on the validation samples, paired.
        test_figure: The deciding figure of the chosen remedy on the test samples.
        gain: The chosen remedy minus the baseline on the test samples; None if the baseline was chosen.
        accuracy_gain: The same for accuracy.
        recall_gains: The same for the recall of each class; these hold simultaneously.
    """

    decide_on: DecideOn
    chosen: str
    best: str
    close: tuple[str, ...]
    figures: Mapping[str, Figure]
    differences: Mapping[str, Figure]
    test_figure: Figure
    gain: Figure | None
    accuracy_gain: Figure | None
    recall_gains: tuple[Figure, ...]

    @property
    def alike(self) -> tuple[str, ...]:
        """Remedies that the validation samples cannot tell apart from the chosen one."""
        return tuple(name for name, each in self.differences.items() if each.low <= 0 <= each.high)


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """A remedy that a race has stopped; it takes part in no interval, and its test samples were not looked at.

    Attributes:
        name: Name of the remedy.
        epochs: Number of epochs that it was trained for.
        seeds: Number of seeds that it was trained with.
        figure: The deciding figure on the validation samples: the mean over these seeds.
        rank: Its rank among the remedies of that round, from 1.
        remedies: Number of remedies of that round.
    """

    name: str
    epochs: int
    seeds: int
    figure: float
    rank: int
    remedies: int

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Create it from the output of `dataclasses.asdict`, as JSON keeps it.

        Raises:
            TypeError, ValueError: If a field is missing, unknown or of the wrong type.
        """
        found = cls(**fields)
        numbers = (found.epochs, found.seeds, found.rank, found.remedies)
        if not isinstance(found.name, str) or not all(type(each) is int for each in numbers):
            raise TypeError("a field of the wrong type")
        return replace(found, figure=float(found.figure))

    def __str__(self) -> str:
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        return f"stopped after {self.epochs} epochs of {seeds}, rank {self.rank} of {self.remedies}"


def check_decide_on(decide_on: Any, costs: Any) -> None:
    """Check what decides.

    Raises:
        ArgumentError: If the figure is unknown, or there are costs without `cost`, or the other way round.
    """
    if decide_on not in DECIDE_ON:
        raise ArgumentError(
            f"decide_on={decide_on!r:.60}", expected=f"one of {', '.join(DECIDE_ON)}", fix="use balanced_accuracy"
        )
    if (decide_on == "cost") != (costs is not None):
        raise ArgumentError(
            f"decide_on={decide_on!r} {'without' if costs is None else 'with'} costs",
            expected="costs together with decide_on='cost'",
            fix="pass both, or neither",
        )


def key_of(decide_on: str) -> str:
    """Return the key of a deciding figure in `SeedMeans`."""
    return "worst_class_recall" if decide_on == "worst_class" else decide_on


def better_first(names: Sequence[str], means: SeedMeans, decide_on: str) -> list[str]:
    """Return remedies by their deciding figure, best first; of equal ones, the one that is listed first."""
    sign = 1.0 if decide_on == "cost" else -1.0
    return sorted(names, key=lambda name: sign * means.value(name, key_of(decide_on)))


def close_to(best: str, names: Sequence[str], means: SeedMeans, decide_on: str) -> tuple[str, ...]:
    """Return the remedies within one standard error of the best one, in the order of `names`."""
    sign = -1.0 if decide_on == "cost" else 1.0
    close = []
    for name in names:
        gap = means.difference(best, name, key_of(decide_on), _ONE_STANDARD_ERROR)
        half_width = (gap.high - gap.low) / 2
        if name == best or sign * float(gap) <= half_width:
            close.append(name)
    return tuple(close)


def decide(
    validation: SeedMeans,
    test: SeedMeans,
    names: Sequence[str],
    *,
    baseline: str,
    decide_on: DecideOn,
    confidence: float,
) -> Decision:
    """Choose a remedy by the rule of this module.

    Args:
        validation: Means on the validation samples.
        test: Means on the test samples. They do not affect the choice.
        names: Names of the remedies, simple ones first.
        baseline: The remedy whose differences on the test samples are reported.
        decide_on: Figure that decides.
        confidence: Confidence level of all intervals.
    """
    key = key_of(decide_on)
    best = better_first(names, validation, decide_on)[0]
    close = close_to(best, names, validation, decide_on)
    chosen = close[0]
    others = [name for name in names if name != chosen]
    changed = chosen != baseline
    level_of_recalls = 1 - (1 - confidence) / test.num_classes  # Bonferroni
    return Decision(
        decide_on=decide_on,
        chosen=chosen,
        best=best,
        close=close,
        figures={name: validation.mean(name, key, confidence) for name in names},
        differences={name: validation.difference(chosen, name, key, confidence) for name in others},
        test_figure=test.mean(chosen, key, confidence),
        gain=test.difference(chosen, baseline, key, confidence) if changed else None,
        accuracy_gain=test.difference(chosen, baseline, "accuracy", confidence) if changed else None,
        recall_gains=test.recall_differences(chosen, baseline, level_of_recalls) if changed else (),
    )
