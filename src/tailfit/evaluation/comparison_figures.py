"""`ComparisonFigures`: what was measured of several remedies, without the tables and pages that show it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from tailfit.evaluation.costs import CostMatrix
from tailfit.evaluation.deciding import DecideOn, Decision, Stopped
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.nested import Nested
from tailfit.evaluation.reasons import NO_VALIDATION, reason_sentences
from tailfit.storage.json_text import parsed

__all__ = ["FORMAT", "READABLE", "ComparisonFigures", "Verdict"]

Verdict = Literal["helps", "hurts", "undecided"]
FORMAT: Final = {"format": "tailfit.comparison", "version": 2}
READABLE: Final = {**FORMAT, "version": (1, 2)}  # version 1 has no evaluations on validation samples


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ComparisonFigures:
    """The numbers of a `Comparison`, which documents the attributes."""

    evaluations: Mapping[str, tuple[EvaluationFigures, ...]]
    seeds: tuple[int, ...]
    baseline: str
    confidence: float
    resamples: int
    figures: Mapping[str, Mapping[str, Figure]]
    ranges: Mapping[str, Mapping[str, Figure]]
    differences: Mapping[str, Mapping[str, Figure]]
    recalls: Mapping[str, tuple[Figure, ...]]
    recall_differences: Mapping[str, tuple[Figure, ...]]
    validation: Mapping[str, tuple[EvaluationFigures, ...]] | None = None
    decide_on: DecideOn = "balanced_accuracy"
    costs: CostMatrix | None = None
    decision: Decision | None = None
    stopped: tuple[Stopped, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    nested: Nested | None = None

    @property
    def chosen(self) -> str | None:
        """Name of the remedy that was chosen on the validation samples; None without such samples."""
        return None if self.decision is None else self.decision.chosen

    @property
    def reasons(self) -> list[str]:
        """Sentences that state why the remedy was chosen, what it gains and costs, and how certain that is."""
        if self.decision is None or self.validation is None:
            return [NO_VALIDATION]
        return reason_sentences(
            self.decision,
            baseline=self.baseline,
            class_names=self.class_names,
            confidence=self.confidence,
            samples=len(self.validation[self.baseline][0].y_true),
            nested=self.nested,
        )

    @property
    def reason(self) -> str:
        """The sentences of `reasons` as one text."""
        return " ".join(self.reasons)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the class indices."""
        return self.evaluations[self.baseline][0].class_names

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Verdict on each remedy except the baseline: the sign of its difference in balanced accuracy, if certain."""
        return {name: _verdict(gains["balanced_accuracy"]) for name, gains in self.differences.items()}

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.evaluations)} remedies, {len(self.seeds)} seeds: {self.verdicts}>"

    @cached_property
    def _json(self) -> str:
        fields = {
            **FORMAT,
            "chosen": self.chosen,
            "reason": self.reason,
            "decide_on": self.decide_on,
            "costs": self.costs,
            "seeds": self.seeds,
            "baseline": self.baseline,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "verdicts": self.verdicts,
            "figures": {name: _plain(figures) for name, figures in self.figures.items()},
            "differences": {name: _plain(gains) for name, gains in self.differences.items()},
            "stopped": [asdict(each) for each in self.stopped],
            "left_out": dict(self.left_out),
            **_nested_fields(self.nested),
            "evaluations": _as_json(self.evaluations),
            "validation": None if self.validation is None else _as_json(self.validation),
        }
        return json.dumps(fields, allow_nan=False, separators=(",", ":"))

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, ComparisonFigures) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """Return everything as JSON, for `from_json` and for other programs; it includes the evaluations."""
        return self._json


def _verdict(gain: Figure) -> Verdict:
    return "helps" if gain.low > 0 else "hurts" if gain.high < 0 else "undecided"


def _nested_fields(nested: Nested | None) -> dict[str, Any]:
    if nested is None:
        return {}
    return {"folds": nested.folds, "nested": _plain({"figure": nested.figure, "gain": nested.gain})}


def _as_json(evaluations: Mapping[str, tuple[EvaluationFigures, ...]]) -> dict[str, Any]:
    return {name: [parsed(each.to_json()) for each in of_remedy] for name, of_remedy in evaluations.items()}


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {key: {"value": float(each), "low": each.low, "high": each.high} for key, each in figures.items()}
