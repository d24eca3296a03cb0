"""Nested choice: in each fold of the data a remedy is chosen on the fold's validation samples alone.

The test samples of all folds, each predicted by the remedy chosen in its fold, then measure what this way of choosing
and training is worth: no test sample was used to train the network that predicts it, or to choose its remedy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tailfit.errors import ArgumentError
from tailfit.evaluation.comparison_statistics import SeedMeans
from tailfit.evaluation.costs import CostMatrix
from tailfit.evaluation.deciding import key_of
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import Figure

__all__ = ["Nested", "nested_choice"]


@dataclass(frozen=True, kw_only=True)
class Nested:
    """The choices in all folds, and their worth on the test samples of all folds.

    Attributes:
        folds: The choice in each fold, and its number of test samples; the test samples are in the order of the folds.
        figure: The deciding figure of the choices on the test samples: the mean over the seeds.
        gain: The same, minus that of the baseline.
    """

    folds: tuple[tuple[str, int], ...]
    figure: Figure
    gain: Figure

    @property
    def votes(self) -> dict[str, int]:
        """Number of folds in which each remedy was chosen, most first."""
        names = [name for name, _ in self.folds]
        return {name: names.count(name) for name in sorted(dict.fromkeys(names), key=lambda each: -names.count(each))}


def nested_choice(
    evaluations: Mapping[str, Sequence[EvaluationFigures]],
    folds: Any,
    *,
    baseline: str,
    decide_on: str,
    confidence: float,
    resamples: int,
    costs: CostMatrix | None = None,
) -> Nested:
    """Measure the choices of all folds on their test samples.

    Args:
        evaluations: Evaluations of each remedy on the test samples of all folds, in their order, one for each seed.
        folds: The choice in each fold, and its number of test samples.
        baseline: The remedy that the gain refers to.
        decide_on, confidence, resamples, costs: See `tailfit.evaluation.comparison`.
    Raises:
        ArgumentError: If a remedy is unknown, or the folds have other numbers of samples.

    >>> from tailfit import evaluate
    >>> y = [0, 1, 0, 1]
    >>> both = {"a": [evaluate(y, [0, 1, 0, 0])] * 2, "b": [evaluate(y, [0, 0, 0, 1])] * 2}
    >>> options = {"decide_on": "balanced_accuracy", "confidence": 0.95, "resamples": 100}
    >>> nested = nested_choice(both, [("a", 2), ("b", 2)], baseline="a", **options)
    >>> float(nested.figure), float(nested.gain)
    (1.0, 0.25)
    """
    listed = tuple((str(name), int(number)) for name, number in folds)
    samples = len(evaluations[baseline][0].y_true)
    if not all(name in evaluations and number > 0 for name, number in listed) or sum(n for _, n in listed) != samples:
        raise ArgumentError(
            f"folds={list(listed)!r:.120} of {samples} test samples",
            expected=f"one of {', '.join(map(repr, evaluations))} and the number of test samples for each fold",
            fix="pass the choice of each fold, in the order of the test samples",
        )
    ends = np.cumsum([number for _, number in listed])
    slices = [slice(end - number, end) for end, (_, number) in zip(ends.tolist(), listed, strict=True)]
    chosen = [
        replace(
            evaluations[baseline][seed],
            y_pred=np.concatenate(
                [evaluations[name][seed].y_pred[rows] for rows, (name, _) in zip(slices, listed, strict=True)]
            ),
        )
        for seed in range(len(evaluations[baseline]))
    ]
    means, key = SeedMeans({"baseline": evaluations[baseline], "chosen": chosen}, resamples, costs), key_of(decide_on)
    gain = means.difference("chosen", "baseline", key, confidence)
    return Nested(folds=listed, figure=means.mean("chosen", key, confidence), gain=gain)
