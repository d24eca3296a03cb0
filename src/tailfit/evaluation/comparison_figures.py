"""`ComparisonFigures`: what was measured of several remedies, without the tables and pages that show it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import Figure
from tailfit.storage.json_text import parsed

__all__ = ["FORMAT", "ComparisonFigures", "Verdict"]

Verdict = Literal["helps", "hurts", "undecided"]
FORMAT: Final = {"format": "tailfit.comparison", "version": 1}


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
            "seeds": self.seeds,
            "baseline": self.baseline,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "verdicts": self.verdicts,
            "figures": {name: _plain(figures) for name, figures in self.figures.items()},
            "differences": {name: _plain(gains) for name, gains in self.differences.items()},
            "evaluations": {
                name: [parsed(each.to_json()) for each in of_remedy] for name, of_remedy in self.evaluations.items()
            },
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


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {key: {"value": float(each), "low": each.low, "high": each.high} for key, each in figures.items()}
