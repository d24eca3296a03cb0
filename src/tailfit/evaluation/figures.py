"""`EvaluationFigures`: what was measured of one classifier, without the tables and pages that show it.

It keeps the class and the prediction of every test sample, not only the figures: whether one classifier is better
than another is a question about the *same* samples, and needs both predictions for each.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.evaluation.event_figures import EventFigures
from tailfit.evaluation.group_intervals import FEW_GROUPS, GroupedPredictions, group_difference_figures
from tailfit.evaluation.grouping import Grouping, group_counts
from tailfit.evaluation.inputs import check_options, checked_train_counts
from tailfit.evaluation.intervals import difference_figures
from tailfit.evaluation.metrics import OVERALL, Codes, Figure, Floats, class_counts, class_metrics, overall, read_only
from tailfit.evaluation.metrics import confusion_matrix as matrix_of
from tailfit.evaluation.slices import Slice, Slicing, slices_of
from tailfit.names import invalid_names
from tailfit.storage.json_text import fields_of

__all__ = ["ClassFigures", "EvaluationFigures", "fault_text"]

_FORMAT = {"format": "tailfit.evaluation", "version": 1}


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """The figures of one class.

    Attributes:
        name: Name of the class.
        train_count: Number of its training samples; None if not given.
        support: Number of its test samples.
        recall: Share of its test samples that are predicted correctly; NaN without test samples.
        precision: Share of the samples predicted as this class that belong to it; NaN without such samples.
        f1: Harmonic mean of the two; 0 where only one of them is defined, NaN where neither is.
        groups: Number of groups that have test samples of the class; None if the groups are unknown.

    >>> from tailfit import evaluate
    >>> evaluate([0, 0, 1], [0, 1, 1]).classes[1].precision
    0.5
    """

    name: str
    train_count: float | None
    support: int
    recall: Figure
    precision: float
    f1: float
    groups: int | None = None

    @property
    def trusted(self) -> bool:
        """Whether enough groups are behind the recall for its interval: `FEW_GROUPS`, unless groups are unknown."""
        return self.groups is None or self.groups == 0 or self.groups >= FEW_GROUPS


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluationFigures:
    """The numbers of an `Evaluation`, which documents the attributes."""

    name: str
    class_names: tuple[str, ...]
    train_counts: tuple[float, ...] | None
    y_true: NDArray[np.int64]
    y_pred: NDArray[np.int64]
    confidence: float
    resamples: int
    seed: int
    classes: tuple[ClassFigures, ...]
    balanced_accuracy: Figure
    macro_f1: Figure
    geometric_mean: Figure
    worst_class_recall: Figure
    worst_class: str
    accuracy: Figure
    groups: Grouping | None = None
    ids_digest: str | None = None
    recordings: Self | None = None
    events: EventFigures | None = None
    slicings: Mapping[str, Slicing] = field(default_factory=dict)
    scores: NDArray[Any] | None = None
    ids: tuple[str, ...] | None = None
    metadata: pl.DataFrame | None = None

    def same_samples(self, other: "EvaluationFigures") -> bool:
        """Return whether another evaluation has the same samples in the same order.

        They have the same classes, and the same IDs and groups where both evaluations have them.
        """
        digests = {self.ids_digest, other.ids_digest} - {None}
        both = self.groups is not None and other.groups is not None
        return (
            np.array_equal(self.y_true, other.y_true)
            and len(digests) < 2
            and (not both or np.array_equal(self.groups.index, other.groups.index))  # type: ignore[union-attr]
        )

    @cached_property
    def slices(self) -> dict[str, tuple[Slice, ...]]:
        """Figures of the samples of each metadata value, by column; see `tailfit.evaluation.slices`."""
        return {
            column: slices_of(
                slicing, self.y_true, self.y_pred, self.groups, len(self.class_names), float(self.confidence)
            )
            for column, slicing in self.slicings.items()
        }

    @property
    def overall(self) -> dict[str, Figure]:
        """Figures over all classes by attribute name, in the order of the tables."""
        return {key: getattr(self, key) for key in OVERALL}

    @property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Number of test samples by class (rows) and predicted class (columns), `int64[C, C]`."""
        return matrix_of(self.y_true, self.y_pred, len(self.class_names))

    def difference_to(self, baseline: "EvaluationFigures") -> dict[str, Figure]:
        """Return this classifier minus `baseline` on the same test samples, each figure with its interval.

        Both are resampled together (paired), so samples and groups that are hard for both do not widen the interval.
        An interval that excludes 0 is evidence of a difference between these two trained models; it does not cover
        other training runs.

        Args:
            baseline: Evaluation of the other classifier on the same samples in the same order.
        Raises:
            ArgumentError: If the classes or the test samples differ.

        >>> from tailfit import evaluate
        >>> y = [0, 1] * 50
        >>> gain = evaluate(y, y).difference_to(evaluate(y, [0] * 100))["balanced_accuracy"]
        >>> float(gain), gain.low > 0.4
        (0.5, True)
        """
        if self.class_names != baseline.class_names or not self.same_samples(baseline):
            raise ArgumentError(
                f"evaluations {self.name!r} and {baseline.name!r} of different classes or test samples",
                expected="the same test samples in the same order",
                fix="evaluate both classifiers on one test set",
            )
        groups = baseline.groups if self.groups is None else self.groups
        if groups is not None and not groups.independent:
            both = np.stack([baseline.y_pred, self.y_pred])
            grouped = GroupedPredictions(self.y_true, both, groups.index, len(groups), len(self.class_names))
            return group_difference_figures(grouped, baseline.overall, self.overall, self.confidence)
        return difference_figures(
            self.y_true,
            (baseline.y_pred, baseline.overall),
            (self.y_pred, self.overall),
            len(self.class_names),
            confidence=self.confidence,
            resamples=self.resamples,
            seed=self.seed,
        )

    def __repr__(self) -> str:
        return (
            f"<Evaluation {self.name!r}: {len(self.y_true)} samples, {len(self.class_names)} classes, "
            f"balanced accuracy {self.balanced_accuracy}>"
        )

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, EvaluationFigures) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """Return everything but scores, IDs and metadata as JSON; undefined figures are null.

        `from_json` reads it, and other programs can.
        """
        return json.dumps({**_FORMAT, **self._to_plain()}, allow_nan=False, separators=(",", ":"))

    def _to_plain(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "name": self.name,
            "class_names": self.class_names,
            "train_counts": self.train_counts,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
            "overall": {key: _plain_value(figure) for key, figure in self.overall.items()},
            "worst_class": self.worst_class,
            "classes": [_class_to_plain(figures) for figures in self.classes],
            "y_true": self.y_true.tolist(),
            "y_pred": self.y_pred.tolist(),
        }
        # Written only where known, so that evaluations without groups keep the form of earlier versions.
        if self.groups is not None:
            fields["groups"] = self.groups.to_plain()
        if self.ids_digest is not None:
            fields["ids_digest"] = self.ids_digest
        if self.recordings is not None:
            fields["recordings"] = self.recordings._to_plain()
        if self.events is not None:
            fields["events"] = self.events.to_plain()
        if self.slicings:
            fields["slices"] = {
                column: {
                    **slicing.to_plain(),
                    "figures": [
                        {key: _plain_field(value) for key, value in vars(each).items()} for each in self.slices[column]
                    ],
                }
                for column, slicing in self.slicings.items()
            }
        return fields

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote. The figures are those of the text, checked against its labels and predictions.

        Raises:
            DataError: If the text is not the JSON of an evaluation.
        """
        fix = "pass the whole text that Evaluation.to_json returned"
        fields = fields_of(text, _FORMAT, fix)
        try:
            return cls._from_plain(fields)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise DataError(
                f"JSON of an evaluation with a fault: {fault_text(error)}",
                expected="every field as Evaluation.to_json writes it",
                fix=fix,
            ) from error

    @classmethod
    def _from_plain(cls, fields: Any) -> Self:
        """Read what `_to_plain` returned.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError: If a field has a fault.
        """
        names = tuple(fields["class_names"])
        if len(names) < 2 or not all(isinstance(name, str) for name in names):
            raise ValueError("fewer than two names in class_names")
        if odd := invalid_names((fields["name"], *names)):
            raise ValueError(f"the name {odd[0]!r}")
        y_true, y_pred = (_class_indices(fields, key, len(names)) for key in ("y_true", "y_pred"))
        if len(y_true) != len(y_pred):
            raise ValueError(f"{len(y_true)} y_true and {len(y_pred)} y_pred")
        check_options(fields["name"], fields["confidence"], fields["resamples"], fields["seed"])
        confidence = fields["confidence"]
        read = cls(
            name=fields["name"],
            class_names=names,
            train_counts=checked_train_counts(fields["train_counts"], len(names)),
            y_true=y_true,
            y_pred=y_pred,
            confidence=confidence,
            resamples=fields["resamples"],
            seed=fields["seed"],
            worst_class=names[names.index(fields["worst_class"])],
            classes=tuple(
                ClassFigures(**{key: _value_from(value, key) for key, value in figures.items()})
                for _, figures in zip(names, fields["classes"], strict=True)
            ),
            **{key: _value_from(fields["overall"][key], "figure") for key in OVERALL},
            groups=Grouping.from_plain(fields["groups"], len(y_true), "groups") if "groups" in fields else None,
            ids_digest=_digest(fields.get("ids_digest")),
            recordings=cls._from_plain(fields["recordings"]) if "recordings" in fields else None,
            slicings={column: Slicing.from_plain(slicing, len(y_true)) for column, slicing in fields["slices"].items()}
            if "slices" in fields
            else {},
            events=EventFigures.from_plain(fields["events"], names, confidence) if "events" in fields else None,
        )
        _check_figures(read)
        return read


def fault_text(error: Exception) -> str:
    """Describe what is wrong with the fields of a file, from the exception that reading them raised.

    >>> fault_text(KeyError("seed")), fault_text(ValueError("the interval 2 to 1 around 0.5"))
    ("no field 'seed'", 'the interval 2 to 1 around 0.5')
    """
    if isinstance(error, KeyError):
        return f"no field {error}"
    if isinstance(error, TailfitError):
        return f"{error.received} (expected {error.expected})"
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"


def _class_indices(fields: dict[str, Any], key: str, num_classes: int) -> Codes:
    """Read an array of class indices of a file."""
    indices = np.array(fields[key])
    if indices.dtype.kind != "i" or indices.ndim != 1 or indices.min() < 0 or indices.max() >= num_classes:
        raise ValueError(f"{key} that are not indices of {num_classes} classes")
    return read_only(indices.astype(np.int64))


def _digest(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise ValueError(f"ids_digest={value!r:.80}")
    return value


def _check_figures(read: EvaluationFigures) -> None:
    """Check the figures of a file against its labels and predictions.

    Intervals come from random numbers, so they are only checked for being in [0, 1] and containing their figure.
    """
    hits, predicted, support = class_counts(read.y_true, read.y_pred, len(read.class_names))
    _check_class_figures(read, class_metrics(hits, predicted, support), support)
    exact = overall(hits, predicted, support, (support > 0) | (predicted > 0))
    for key, figure in read.overall.items():
        if not abs(figure - exact[key]) <= 1e-9:
            raise ValueError(f"{key}={float(figure)!r} where the samples have {float(exact[key])!r}")
    worst = read.class_names.index(read.worst_class)
    if not abs(float(read.classes[worst].recall) - read.worst_class_recall) <= 1e-9:
        raise ValueError("a worst_class whose recall is not the smallest")
    for figure in [*read.overall.values(), *(of_class.recall for of_class in read.classes)]:
        if figure == figure and not (0 <= figure.low <= figure + 1e-9 and figure - 1e-9 <= figure.high <= 1):
            raise ValueError(f"the interval {figure.low!r} to {figure.high!r} around {float(figure)!r}")


def _check_class_figures(read: EvaluationFigures, exact: tuple[Floats, ...], support: Floats) -> None:
    groups = group_counts(read.groups, read.y_true, len(read.class_names))
    for k, of_class in enumerate(read.classes):
        count = None if read.train_counts is None else read.train_counts[k]
        if (of_class.name, of_class.support, of_class.train_count) != (read.class_names[k], support[k], count):
            raise ValueError(f"class {k} with a different name or number of samples")
        if of_class.groups != groups[k]:
            raise ValueError(f"class {k} with {of_class.groups} groups where its samples have {groups[k]}")
        stored = [float(of_class.recall), of_class.precision, of_class.f1]
        if not np.allclose(stored, [values[k] for values in exact], rtol=0, atol=1e-9, equal_nan=True):
            raise ValueError(f"class {k} with figures that differ from those of its samples")


def _class_to_plain(figures: ClassFigures) -> dict[str, Any]:
    plain = {key: _plain_value(value) for key, value in asdict(figures).items()}
    if figures.groups is None:
        del plain["groups"]
    return plain


def _plain_field(value: Any) -> Any:
    return [_plain_value(each) for each in value] if isinstance(value, tuple) else _plain_value(value)


def _plain_value(value: Any) -> Any:
    if isinstance(value, Figure):
        return [_plain_value(float(value)), _plain_value(value.low), _plain_value(value.high)]
    return None if isinstance(value, float) and math.isnan(value) else value


def _value_from(value: Any, key: str) -> Any:
    if key in ("figure", "recall"):
        return Figure(*(math.nan if number is None else number for number in value))
    return math.nan if value is None and key in ("precision", "f1") else _of_type(value, key)


def _of_type(value: Any, key: str) -> Any:
    types: Any = {"name": str, "support": int, "groups": int}.get(key, int | float)
    if not isinstance(value, types) and not (value is None and key == "train_count"):
        raise TypeError(f"{key}={value!r:.60}")
    return value
