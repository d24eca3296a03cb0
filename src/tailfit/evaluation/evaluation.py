"""`evaluate`: labels and scores in, an `Evaluation` out, which is all that was measured, and on what.

An `Evaluation` keeps the class and the prediction of every test sample, not only the figures: whether one
classifier is better than another is a question about the *same* samples, and needs both predictions of each.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from tailfit.errors import ArgumentError, DataError
from tailfit.evaluation.files import json_fields, write_text
from tailfit.evaluation.intervals import difference_figures, jeffreys, overall_figures
from tailfit.evaluation.metrics import OVERALL, Figure, Floats, class_counts, confusion_matrix, f1_scores, overall
from tailfit.evaluation.report import report
from tailfit.evaluation.tables import as_text, compare_table
from tailfit.labels import encode_codes
from tailfit.names import first_odd

__all__ = ["ClassFigures", "Evaluation", "evaluate"]

_FORMAT = {"format": "tailfit.evaluation", "version": 1}


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """What was measured of one class.

    Attributes:
        name: The class.
        train_count: Its training samples; None where they were not given.
        support: Its test samples.
        recall: Share of its test samples predicted right; NaN where it has none.
        precision: Share of the samples predicted as it that are of it; NaN where there are none.
        f1: Harmonic mean of the two; 0 where only one of them is defined, NaN where neither is.

    >>> evaluate([0, 0, 1], [0, 1, 1]).classes[1].precision
    0.5
    """

    name: str
    train_count: float | None
    support: int
    recall: Figure
    precision: float
    f1: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """All that was measured of one classifier; made by `evaluate`, equal where the JSON is equal.

    Each figure is a `Figure`: a float with `low` and `high`, the ends of its confidence interval. How the
    intervals are computed, and why not by the plain bootstrap, is said in `tailfit.evaluation.intervals`.

    Attributes:
        name: How tables call the classifier.
        class_names: C names, in the order of their codes.
        train_counts: Training samples of each class; None where they were not given.
        y_true: Class of each test sample, `int64[n]`, read-only.
        y_pred: Predicted class of each test sample, `int64[n]`, read-only.
        confidence: Of every interval, e.g. 0.95.
        resamples: Bootstrap resamples.
        seed: Of the bootstrap.
        classes: `ClassFigures` of each class.
        balanced_accuracy: Mean recall of the classes that have test samples.
        macro_f1: Mean F1 of the classes that have test samples or were predicted.
        geometric_mean: Geometric mean of the recalls.
        worst_class_recall: The smallest recall.
        worst_class: The class that has it; the first of several.
        accuracy: Share of test samples predicted right.

    >>> evaluation = evaluate(["leak", "ok", "ok", "ok"], ["leak", "ok", "ok", "leak"])
    >>> round(evaluation.balanced_accuracy, 3), evaluation.worst_class
    (0.833, 'ok')
    >>> Evaluation.from_json(evaluation.to_json()) == evaluation
    True
    """

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

    @property
    def overall(self) -> dict[str, Figure]:
        """The figures over all classes by attribute name, in the order that tables show."""
        return {key: getattr(self, key) for key in OVERALL}

    @property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """Test samples by class (rows) and predicted class (columns), `int64[C, C]`."""
        return confusion_matrix(self.y_true, self.y_pred, len(self.class_names))

    def difference_to(self, baseline: "Evaluation") -> dict[str, Figure]:
        """This classifier minus `baseline` on the same test samples, each figure with its interval.

        Both are resampled together (a paired bootstrap), so what is hard for both does not blur the difference.
        An interval that leaves out 0 is evidence of a difference; it says nothing of other training runs.

        Args:
            baseline: Evaluation of the other classifier on the same samples in the same order.
        Raises:
            ArgumentError: if classes or test samples are not the same.

        >>> y = [0, 1] * 50
        >>> gain = evaluate(y, y).difference_to(evaluate(y, [0] * 100))["balanced_accuracy"]
        >>> float(gain), gain.low > 0.4
        (0.5, True)
        """
        if self.class_names != baseline.class_names or not np.array_equal(self.y_true, baseline.y_true):
            raise ArgumentError(
                f"evaluations {self.name!r} and {baseline.name!r} of different classes or test samples",
                expected="the same test samples in the same order",
                fix="evaluate both classifiers on one test set",
            )
        return difference_figures(
            self.y_true,
            (baseline.y_pred, baseline.overall),
            (self.y_pred, self.overall),
            len(self.class_names),
            confidence=self.confidence,
            resamples=self.resamples,
            seed=self.seed,
        )

    def table(self) -> Table:
        """A table for `rich.print`; `str(evaluation)` is the same as plain text."""
        return compare_table({self.name: self})

    def __str__(self) -> str:
        return as_text(self.table())

    def __repr__(self) -> str:
        return (
            f"<Evaluation {self.name!r}: {len(self.y_true)} samples, {len(self.class_names)} classes, "
            f"balanced accuracy {self.balanced_accuracy}>"
        )

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, Evaluation) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.to_json())

    def to_json(self) -> str:
        """All of it as JSON, for `from_json` and for other programs; what is undefined is null."""
        fields = {
            **_FORMAT,
            "name": self.name,
            "class_names": self.class_names,
            "train_counts": self.train_counts,
            "confidence": self.confidence,
            "resamples": self.resamples,
            "seed": self.seed,
            "overall": {key: _to_plain(figure) for key, figure in self.overall.items()},
            "worst_class": self.worst_class,
            "classes": [{key: _to_plain(value) for key, value in asdict(figures).items()} for figures in self.classes],
            "y_true": self.y_true.tolist(),
            "y_pred": self.y_pred.tolist(),
        }
        return json.dumps(fields, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The evaluation that `to_json` wrote, its figures as they were written.

        Raises:
            DataError: if the text is not one.
        """
        fix = "pass the whole text that Evaluation.to_json returned"
        fields = json_fields(text, _FORMAT, fix)
        try:
            names = tuple(fields["class_names"])
            if len(names) < 2 or not all(isinstance(name, str) for name in names):
                raise ValueError("class_names that are not two names or more")
            if (odd := first_odd((fields["name"], *names))) is not None:
                raise ValueError(f"the name {odd!r}")
            y_true, y_pred = (_codes(fields, key, len(names)) for key in ("y_true", "y_pred"))
            if len(y_true) != len(y_pred):
                raise ValueError(f"{len(y_true)} y_true and {len(y_pred)} y_pred")
            _check_options(fields["name"], fields["confidence"], fields["resamples"], fields["seed"])
            read = cls(
                name=fields["name"],
                class_names=names,
                train_counts=_checked_counts(fields["train_counts"], len(names)),
                y_true=y_true,
                y_pred=y_pred,
                confidence=fields["confidence"],
                resamples=fields["resamples"],
                seed=fields["seed"],
                worst_class=names[names.index(fields["worst_class"])],
                classes=tuple(
                    ClassFigures(**{key: _from_plain(value, key) for key, value in figures.items()})
                    for _, figures in zip(names, fields["classes"], strict=True)
                ),
                **{key: _from_plain(fields["overall"][key], "figure") for key in OVERALL},
            )
            _check_figures(read)
            return read
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise DataError(
                f"JSON of an evaluation with {type(error).__name__}: {error}",
                expected="every field that Evaluation.to_json writes",
                fix=fix,
            ) from error

    def save_json(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_json` to a file, whole or not at all; its path."""
        return write_text(path, self.to_json())

    def to_html(self) -> str:
        """A self-contained page, see `tailfit.evaluation.report`."""
        return report({self.name: self})

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write `to_html` to a file, whole or not at all; its path."""
        return write_text(path, self.to_html())


def evaluate(
    y_true: Any,
    y_score: Any,
    class_names: Sequence[str] | None = None,
    train_counts: Sequence[float] | NDArray[Any] | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    name: str = "model",
) -> Evaluation:
    """Measure a classifier on test samples: recall of every class, and figures that rare classes count in.

    Args:
        y_true: Class of each sample: codes, names or one-hot rows.
        y_score: Scores, one column a class (probabilities or logits: only which is largest matters; of equal
            ones the first, as `argmax`), or the predicted codes or names themselves.
        class_names: Names of the C classes in the order of their codes.
        train_counts: Training samples of each class, shown beside its recall.
        confidence: Of the intervals, in (0, 1).
        resamples: Of the bootstrap; one at least beyond either end of the interval.
        seed: Of the bootstrap: the same input gives the same figures on any machine.
        name: How tables call this classifier.
    Shapes: `y_true` `[n]` or `[n, C]`; `y_score` `[n, C]` or `[n]`; `train_counts` `[C]`, in samples.
    Raises:
        ArgumentError: if an option is out of range or `train_counts` do not fit the classes.
        DataError: if labels and scores do not fit each other or a score is NaN; it names the row.
    Source: intervals as in `tailfit.evaluation.intervals`, with references.

    >>> evaluation = evaluate([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    >>> float(evaluation.balanced_accuracy)
    0.75
    >>> print(evaluation.classes[0].recall)
    0.500 [0.061, 0.939]
    """
    _check_options(name, confidence, resamples, seed)
    truth, y_pred, names = _decisions(y_true, y_score, class_names)
    num_classes = len(names)
    if num_classes < 2:
        raise DataError(
            f"{num_classes} class", expected="two classes or more", fix="pass class_names for classes without a sample"
        )
    counts = _checked_counts(train_counts, num_classes)
    hits, predicted, support = class_counts(truth, y_pred, num_classes)
    recall, precision, f1 = _by_class(hits, predicted, support)
    low, high = jeffreys(hits, support, confidence)
    figures = overall_figures(truth, y_pred, num_classes, confidence=confidence, resamples=resamples, seed=seed)
    return Evaluation(
        name=name,
        class_names=names,
        train_counts=counts,
        y_true=_read_only(truth),
        y_pred=_read_only(y_pred),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        classes=tuple(
            ClassFigures(
                name=names[k],
                train_count=None if counts is None else counts[k],
                support=int(support[k]),
                recall=Figure(recall[k], low[k], high[k]),
                precision=float(precision[k]),
                f1=float(f1[k]),
            )
            for k in range(num_classes)
        ),
        worst_class=names[int(np.nanargmin(recall))],
        **figures,
    )


def _check_options(name: str, confidence: float, resamples: int, seed: int) -> None:
    if not isinstance(name, str):
        raise ArgumentError(f"name={name!r}", expected="text", fix="use name='model'")
    if not isinstance(confidence, int | float | np.floating) or not 0 < confidence < 1:
        raise ArgumentError(f"confidence={confidence!r}", expected="a number between 0 and 1", fix="use 0.95 for 95 %")
    needed = math.ceil(2 / (1 - confidence))
    if not isinstance(resamples, int | np.integer) or resamples < needed:
        raise ArgumentError(
            f"resamples={resamples!r}",
            expected=f"a whole number from {needed}, for confidence={confidence}",
            fix="use the default of 1000",
        )
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ArgumentError(f"seed={seed!r}", expected="a whole number from 0", fix="use seed=0")


def _decisions(
    y_true: Any, y_score: Any, class_names: Sequence[str] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Codes of the true and of the predicted classes, and the class names."""
    try:
        scores = np.asarray(y_score)
    except ValueError:  # rows of unequal length
        scores = np.empty(0, dtype=object)
    if scores.ndim == 0 or (scores.dtype == object and not _is_text(scores)):
        raise DataError(
            f"y_score of type {type(y_score).__name__}, which is no array of numbers or names",
            expected="scores of shape [n, classes], or predicted codes or names [n]",
            fix="pass what model.predict returned",
        )
    if scores.dtype.kind == "V":  # bfloat16 and its kin, which NumPy itself does not know
        scores = scores.astype(np.float32)
    if scores.ndim == 2 and scores.shape[1] > 1:
        if scores.dtype.kind not in "fiub":
            raise DataError(
                f"y_score of shape {scores.shape} and type {scores.dtype}",
                expected="numbers, one column a class",
                fix="pass what model.predict returned",
            )
        true = encode_codes(y_true, class_names=class_names, num_classes=scores.shape[1], what="y_true")
        _check_rows(true.values, scores)
        missing = np.isnan(scores).any(axis=1) if scores.dtype.kind == "f" else np.zeros(len(scores), bool)
        if missing.any():
            raise DataError(
                f"y_score whose row {int(np.argmax(missing))} has NaN",
                expected="a score for every class",
                fix="look for divergence in training, or drop the row from both y_true and y_score",
            )
        return true.values, scores.argmax(axis=1).astype(np.int64), true.class_names
    if scores.dtype.kind == "f" and not np.all(scores == np.floor(scores)) and not np.isnan(scores).any():
        raise DataError(
            f"y_score of shape {scores.shape} with fractions",
            expected="scores of shape [n, classes], or predicted codes [n]",
            fix="for one sigmoid output p, pass numpy.stack([1 - p, p], axis=1)",
        )
    true = encode_codes(y_true, class_names=class_names, what="y_true")
    if class_names is None and _is_text(scores):
        # Both sides are named: a class may occur on one side only.
        if not _is_text(np.asarray(y_true)):
            raise DataError(
                "y_true of codes and y_score of names",
                expected="codes on both sides, names on both, or class_names",
                fix="pass class_names in the order of the codes",
            )
        class_names = sorted({*map(str, np.ravel(np.asarray(y_true))), *map(str, scores.ravel())})
        true = encode_codes(y_true, class_names=class_names, what="y_true")
    known = class_names is not None or _is_text(np.asarray(y_true)) or np.ndim(y_true) == 2
    guess = encode_codes(y_score, class_names=true.class_names if known else None, what="y_score (predicted classes)")
    _check_rows(true.values, guess.values)
    longer = max(true.class_names, guess.class_names, key=len)
    return true.values, guess.values, longer


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "UT" or (array.dtype == object and array.size > 0 and isinstance(array.flat[0], str))


def _check_rows(y_true: NDArray[Any], scores: NDArray[Any]) -> None:
    if len(y_true) != len(scores):
        raise DataError(
            f"{len(y_true)} labels and {len(scores)} rows of scores",
            expected="one row of scores a label",
            fix="predict on exactly the samples whose labels are passed",
        )
    if len(y_true) == 0:
        raise DataError("no sample", expected="one sample or more", fix="check the test partition")


def _checked_counts(counts: Any, num_classes: int) -> tuple[float, ...] | None:
    if counts is None:
        return None
    try:
        array = np.asarray(counts, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (num_classes,):
        raise ArgumentError(
            f"train_counts of shape {array.shape} for {num_classes} classes",
            expected="one count a class, in the order of the class names",
            fix="pass source.class_counts of the training source",
        )
    if not np.all(np.isfinite(array) & (array >= 0)):
        k = int(np.argmax(~(np.isfinite(array) & (array >= 0))))
        raise ArgumentError(
            f"train_counts whose entry {k} is {array[k]}",
            expected="numbers of samples, from 0",
            fix="count the training labels, e.g. numpy.bincount(y, minlength=C)",
        )
    return tuple(array.tolist())


def _read_only(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    copy = codes.copy()
    copy.flags.writeable = False
    return copy


def _codes(fields: dict[str, Any], key: str, num_classes: int) -> NDArray[np.int64]:
    """Codes of a file, refused unless each is that of a class."""
    codes = np.array(fields[key])
    if codes.dtype.kind != "i" or codes.ndim != 1 or codes.min() < 0 or codes.max() >= num_classes:
        raise ValueError(f"{key} that are not codes of {num_classes} classes")
    return _read_only(codes.astype(np.int64))


def _check_figures(read: Evaluation) -> None:
    """Refuse figures of a file that are not those of its labels and predictions.

    Intervals are drawn from random numbers, and only held against what an interval is.
    """
    hits, predicted, support = class_counts(read.y_true, read.y_pred, len(read.class_names))
    known = _by_class(hits, predicted, support)
    for k, of_class in enumerate(read.classes):
        count = None if read.train_counts is None else read.train_counts[k]
        if (of_class.name, of_class.support, of_class.train_count) != (read.class_names[k], support[k], count):
            raise ValueError(f"class {k} of another name or number of samples")
        told = [float(of_class.recall), of_class.precision, of_class.f1]
        if not np.allclose(told, [values[k] for values in known], rtol=0, atol=1e-9, equal_nan=True):
            raise ValueError(f"class {k} of figures that its samples do not have")
    exact = overall(hits, predicted, support, (support > 0) | (predicted > 0))
    for key, figure in read.overall.items():
        if not abs(figure - exact[key]) <= 1e-9:
            raise ValueError(f"{key}={float(figure)!r} where the samples have {float(exact[key])!r}")
    worst = read.class_names.index(read.worst_class)
    if not abs(float(read.classes[worst].recall) - read.worst_class_recall) <= 1e-9:
        raise ValueError("another worst class")
    for figure in [*read.overall.values(), *(of_class.recall for of_class in read.classes)]:
        if figure == figure and not (0 <= figure.low <= figure + 1e-9 and figure - 1e-9 <= figure.high <= 1):
            raise ValueError(f"the interval {figure.low!r} to {figure.high!r} around {float(figure)!r}")


def _by_class(hits: Floats, predicted: Floats, support: Floats) -> tuple[Floats, Floats, Floats]:
    """Recall, precision and F1 of each class; NaN where not defined."""
    with np.errstate(invalid="ignore"):  # 0 / 0 = NaN is meant
        recall, precision = hits / support, hits / predicted
    return recall, precision, np.where(support + predicted > 0, f1_scores(hits, predicted, support), np.nan)


def _to_plain(value: Any) -> Any:
    if isinstance(value, Figure):
        return [_to_plain(float(value)), _to_plain(value.low), _to_plain(value.high)]
    return None if isinstance(value, float) and math.isnan(value) else value


def _from_plain(value: Any, key: str) -> Any:
    if key in ("figure", "recall"):
        return Figure(*(math.nan if number is None else number for number in value))
    return math.nan if value is None and key in ("precision", "f1") else _of_kind(value, key)


def _of_kind(value: Any, key: str) -> Any:
    kinds: Any = {"name": str, "support": int}.get(key, int | float)
    if not isinstance(value, kinds) and not (value is None and key == "train_count"):
        raise TypeError(f"{key}={value!r:.60}")
    return value
