"""Origin of a run, for its page: the recipe, and what its batches contained, read from the run's directory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tailfit.errors import DataError
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.tables import count_text, shown_classes
from tailfit.storage.json_text import MOST_JSON, read_object
from tailfit.storage.yaml_text import as_yaml

__all__ = ["Origin", "batch_rows", "read_origin"]

_RESULT_FILE: Final = "result.json"


@dataclass(frozen=True)
class Origin:
    """Origin of a run.

    Attributes:
        recipe: Its recipe as YAML, with all defaults.
        drawn: Expected number of samples of each class in the first epoch and in the last one; empty if unknown.
        weighted: The same, of the sums of their weights.
    """

    recipe: str
    drawn: Sequence[Sequence[float]] = ()
    weighted: Sequence[Sequence[float]] = ()


def read_origin(directory: Path) -> Origin | None:
    """Read how a finished run was made; None if its `result.json` is missing or damaged.

    >>> read_origin(Path("nowhere")) is None
    True
    """
    try:
        fields = read_object(directory / _RESULT_FILE, MOST_JSON)
        recipe = {key: value for key, value in fields["recipe"].items() if value is not None}
        drawn, weighted = (_counts(fields.get(key), len(fields["class_names"])) for key in ("drawn", "weighted"))
        if len(drawn) != len(weighted):
            raise ValueError("sums of weights of other epochs")
        return Origin(as_yaml(recipe), drawn, weighted)
    except (DataError, OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError):
        return None


def batch_rows(evaluation: EvaluationFigures, origin: Origin, most: int) -> list[dict[str, Any]]:
    """Return what the data and the batches contain of each class, and the mean weight of its samples there.

    Args:
        evaluation: Evaluation of the run, with training counts.
        origin: How the run was made.
        most: Number of classes to show.
    """
    counts, size = evaluation.train_counts, len(evaluation.class_names)
    if counts is None or not origin.drawn or not origin.weighted or any(len(each) != size for each in origin.drawn):
        return []
    weights = [_ratios(sums, drawn) for sums, drawn in zip(origin.weighted, origin.drawn, strict=True)]
    return [
        {
            "name": evaluation.class_names[k],
            "data": count_text(counts[k]),
            "data_share": _share(counts, k),
            "batches": _changing([count_text(round(each[k])) for each in origin.drawn]),
            "batches_share": _changing([_share(each, k) for each in origin.drawn]),
            "weight": _changing([f"{each[k]:.3g}" if each[k] == each[k] else "–" for each in weights]),  # noqa: RUF001
        }
        for k in shown_classes(evaluation, most)[0]
    ]


def _counts(value: Any, size: int) -> Sequence[Sequence[float]]:
    rows = [[float(each) for each in row] for row in value or ()]
    if any(len(row) != size or not all(0 <= each < math.inf for each in row) for row in rows):
        raise ValueError("counts of other classes, or counts that are no numbers")
    return rows


def _ratios(sums: Sequence[float], drawn: Sequence[float]) -> list[float]:
    return [total / number if number else float("nan") for total, number in zip(sums, drawn, strict=True)]


def _share(counts: Sequence[float], k: int) -> str:
    return f"{100 * counts[k] / max(sum(counts), 1e-300):.3g} %"


def _changing(texts: Sequence[str]) -> str:
    """Return the text of the first epoch, and that of the last one if it differs."""
    return " → ".join(dict.fromkeys(texts))
