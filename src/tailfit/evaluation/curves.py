"""Views of the scores of an evaluation beyond its predictions: curves, calibration, abstention and the worst mistakes.

Scores are probabilities if none is negative and each row sums to one; other scores are logits, of which the softmax is
taken. Everything here is a description of these test samples, without intervals unless stated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from tailfit.errors import ArgumentError
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.intervals import jeffreys
from tailfit.evaluation.metrics import Codes, Floats, cell_counts
from tailfit.evaluation.samples import are_probabilities

__all__ = [
    "BINS",
    "RECALLS",
    "PrecisionRecall",
    "Reliability",
    "ScoreView",
    "cheapest_thresholds",
    "confused_pairs",
    "coverage_curve",
    "precision_recall_curve",
    "reliability_curve",
    "threshold_table",
]

BINS: Final = 10
PER_RECORDING: Final = 3
RECALLS: Final = (0.5, 0.8, 0.9, 0.95)
"""Recalls at which `threshold_table` shows the trade-off of a threshold."""
_CHUNK: Final = 1 << 17  # scores that are converted at once: they stay in the cache of a core
_POINTS: Final = 101  # of a drawn curve
_KEPT: Final = "_score_view"
_LEAST: Final = np.log(1e-12)  # lower bound of a log probability


@dataclass(frozen=True, eq=False)
class ScoreView:
    """The probabilities of an evaluation, computed when they are needed.

    Args:
        evaluation: An evaluation with scores.
    Raises:
        ArgumentError: If it has no scores.

    >>> from tailfit import evaluate
    >>> view = ScoreView(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]))
    >>> view.confidence.round(2).tolist()
    [0.9, 0.7, 0.6]
    """

    evaluation: EvaluationFigures
    curves: "dict[int, PrecisionRecall]" = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, evaluation: EvaluationFigures) -> "ScoreView":
        """Return the view of an evaluation, which several charts share."""
        kept: dict[str, Any] = vars(evaluation)  # as functools.cached_property does; not a field
        if _KEPT not in kept:
            kept[_KEPT] = cls(evaluation)
        return cast(ScoreView, kept[_KEPT])

    def __post_init__(self) -> None:
        if self.evaluation.scores is None:
            raise ArgumentError(
                f"the evaluation {self.evaluation.name!r} without scores",
                expected="an evaluation of scores, one column for each class",
                fix="pass scores to tailfit.evaluate, or read the evaluation with Evaluation.load, which restores them",
            )

    @property
    def scores(self) -> NDArray[Any]:
        """Scores as given, `[n, C]`."""
        return cast(NDArray[Any], self.evaluation.scores)

    @cached_property
    def given(self) -> bool:
        """Whether the scores are probabilities."""
        return are_probabilities(self.scores)

    @cached_property
    def normalizer(self) -> Floats:
        """Logarithm of the sum of the exponentials of each row of logits; of the sum of each row of probabilities."""
        rows = max(1, _CHUNK // self.scores.shape[1])
        parts = []
        for begin in range(0, len(self.scores), rows):
            part = self.scores[begin : begin + rows]
            parts.append(np.log(part.sum(axis=1, dtype=np.float64)) if self.given else _logsumexp(part))
        return np.concatenate(parts)

    def log_probability(self, of_class: int | Codes) -> Floats:
        """Return the log probability of one class for each sample, or of a class of its own for each, `[n]`."""
        index: Any = of_class if isinstance(of_class, int) else (np.arange(len(self.scores)), of_class)
        values = self.scores[:, of_class] if isinstance(of_class, int) else self.scores[index]
        if self.given:
            with np.errstate(divide="ignore"):
                values = np.log(values.astype(np.float64))
        else:
            limits = np.finfo(values.dtype)
            values = np.clip(values, limits.min / 4, limits.max / 4).astype(np.float64)
        return np.asarray(np.clip(values - self.normalizer, _LEAST, 0.0), np.float64)

    @cached_property
    def confidence(self) -> Floats:
        """Probability of the predicted class, `[n]`."""
        return np.asarray(np.exp(self.log_probability(self.evaluation.y_pred)), np.float64)

    def mistakes(self, most: int = 50, per_recording: int | None = PER_RECORDING) -> pl.DataFrame:
        """Return the wrong predictions with the largest margin over the true class, the worst first.

        Args:
            most: Number of rows.
            per_recording: Largest number of windows of one recording, because its neighbouring windows show the same
                mistake; None for all.
        Returns:
            Columns `row` (position of the sample), `id`, `group`, `record`, `start` where known, `label`, `predicted`,
            `confidence` (probability of the predicted class), `probability` (of the label).
        """
        evaluation = self.evaluation
        wrong = np.flatnonzero(evaluation.y_true != evaluation.y_pred)
        of_true = self.log_probability(evaluation.y_true)
        margin = self.log_probability(evaluation.y_pred)[wrong] - of_true[wrong]
        rows = wrong[np.argsort(-margin, kind="stable")]
        if per_recording is not None:
            rows = rows[self._place_in_recording(rows) < per_recording]
        rows = rows[:most]
        names = np.array(evaluation.class_names, dtype=object)
        columns: dict[str, Any] = {"row": rows}
        if evaluation.ids is not None:
            columns["id"] = [evaluation.ids[row] for row in rows.tolist()]
        if evaluation.groups is not None:
            columns["group"] = [evaluation.groups.names[g] for g in evaluation.groups.index[rows].tolist()]
        for key in ("record", "start"):
            if evaluation.metadata is not None and key in evaluation.metadata.columns:
                columns[key] = evaluation.metadata[key][rows]
        return pl.DataFrame(
            {
                **columns,
                "label": pl.Series(names[evaluation.y_true[rows]].tolist(), dtype=pl.String),
                "predicted": pl.Series(names[evaluation.y_pred[rows]].tolist(), dtype=pl.String),
                "confidence": self.confidence[rows],
                "probability": np.exp(of_true[rows]),
            }
        )

    def _place_in_recording(self, rows: Codes) -> Codes:
        """Return how many earlier ones of these samples are of the same recording; 0 of samples without recordings."""
        table = self.evaluation.metadata
        if table is None or not {"record", "start"} <= set(table.columns):
            return np.zeros(len(rows), np.int64)
        place = table["record"][rows].to_frame("record").select(pl.int_range(pl.len()).over("record"))
        return place.to_series().to_numpy()


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall of a class for every threshold of its probability, most confident samples first.

    Attributes:
        recall, precision: Points of the curve; those of equal thresholds are one.
        threshold: Smallest probability that counts as the class at each point.
        prevalence: Share of the samples that belong to the class, which is the precision of chance.
        average_precision: Sum over the points of precision times the increase of recall.
    """

    recall: Floats
    precision: Floats
    threshold: Floats
    prevalence: float
    average_precision: float

    def thinned(self, points: int = _POINTS) -> tuple[Floats, Floats]:
        """Return at most `points` points for drawing: the first ones that reach evenly spaced recalls."""
        if len(self.recall) <= points or self.recall[-1] != self.recall[-1]:  # NaN: no samples of the class
            return self.recall[:points], self.precision[:points]
        # The points between two increases of recall lie on a drop of precision, and add no recall.
        kept = np.unique(np.searchsorted(self.recall, np.linspace(self.recall[0], 1, points) - 1e-12))
        return self.recall[kept], self.precision[kept]


def precision_recall_curve(view: ScoreView, of_class: int) -> PrecisionRecall:
    """Return the precision-recall curve of a class against all others.

    Source: average precision as in scikit-learn, `sklearn.metrics.average_precision_score`, without interpolation.

    >>> from tailfit import evaluate
    >>> view = ScoreView(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]]))
    >>> precision_recall_curve(view, 1).average_precision
    1.0
    """
    if of_class in view.curves:
        return view.curves[of_class]
    belongs = view.evaluation.y_true == of_class
    score = view.log_probability(of_class)
    order = np.argsort(-score)  # samples of equal scores are one point, in whatever order
    hits = np.cumsum(belongs[order])
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    precision = hits[last] / (last + 1)
    total = int(hits[-1])
    recall = hits[last] / total if total else np.full(len(last), np.nan)
    average = float((np.diff(recall, prepend=0.0) * precision).sum()) if total else float("nan")
    curve = PrecisionRecall(recall, precision, np.exp(score[order][last]), total / len(score), average)
    return view.curves.setdefault(of_class, curve)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence of the predictions against their accuracy, in bins of equal width.

    Attributes:
        samples: Predictions in each bin, `[BINS]`.
        confidence, accuracy: Their mean confidence, and the share that is correct; NaN in empty bins.
        low, high: Jeffreys' interval of the accuracy, as if samples were independent.
        isotonic: Accuracy at `grid`, by isotonic regression of correctness on confidence; NaN outside of the data.
        grid: Confidences.
        error: Expected calibration error: mean over the samples of |accuracy - confidence| of their bin.
        classwise: The same for the probability of each class, `[C]`; NaN for classes that were left out.
    """

    samples: Codes
    confidence: Floats
    accuracy: Floats
    low: Floats
    high: Floats
    isotonic: Floats
    grid: Floats
    error: float
    classwise: Floats


def reliability_curve(view: ScoreView, classes: list[int] | None = None) -> Reliability:
    """Return the calibration of an evaluation's probabilities.

    Args:
        view: The probabilities.
        classes: Classes whose classwise error is computed; by default all.
    Source: Guo et al. 2017, arXiv:1706.04599, eq. 5 (expected calibration error); Kull et al. 2019, arXiv:1910.12656,
        sec. 2 (classwise).

    >>> from tailfit import evaluate
    >>> curve = reliability_curve(ScoreView(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])))
    >>> round(curve.error, 3)  # (0.1 + 0.3 + 0.6) / 3
    0.333
    """
    evaluation, confidence = view.evaluation, view.confidence
    correct = (evaluation.y_true == evaluation.y_pred).astype(np.float64)
    samples, mean, accuracy = _binned(confidence, correct)
    hits = np.nan_to_num(accuracy) * samples
    low, high = jeffreys(hits, samples.astype(np.float64), float(evaluation.confidence))
    size = len(evaluation.class_names)
    classwise = np.full(size, np.nan)
    for k in range(size) if classes is None else classes:
        probability = np.exp(view.log_probability(k))
        classwise[k] = _error(*_binned(probability, (evaluation.y_true == k).astype(np.float64)))
    grid = np.linspace(0, 1, _POINTS)
    return Reliability(
        samples=samples,
        confidence=mean,
        accuracy=accuracy,
        low=low,
        high=high,
        isotonic=_isotonic(confidence, correct, grid),
        grid=grid,
        error=_error(samples, mean, accuracy),
        classwise=classwise,
    )


def coverage_curve(view: ScoreView, points: int = _POINTS) -> pl.DataFrame:
    """Return what is gained by leaving the least confident samples to a person.

    Returns:
        Columns `coverage` (share of the samples that are decided, the most confident ones), `threshold` (their smallest
        confidence), `accuracy` and `balanced_accuracy` of these samples, and `classes` that they have.
    Source: selective classification; El-Yaniv & Wiener 2010, "On the Foundations of Noise-free Selective
        Classification", JMLR 11, 1605.

    >>> from tailfit import evaluate
    >>> coverage_curve(ScoreView(evaluate([0, 1, 0], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])))["accuracy"].to_list()[:2]
    [1.0, 1.0]
    """
    evaluation, size = view.evaluation, len(view.evaluation.class_names)
    order = np.argsort(-view.confidence, kind="stable")
    true, correct = evaluation.y_true[order], (evaluation.y_true == evaluation.y_pred)[order]
    ends = np.unique(np.ceil(np.linspace(1 / points, 1, points) * len(order)).astype(int))
    support, hits = np.zeros(size), np.zeros(size)
    rows, begin = [], 0
    for end in ends.tolist():
        support += np.bincount(true[begin:end], minlength=size)
        hits += np.bincount(true[begin:end][correct[begin:end]], minlength=size)
        begin, present = end, support > 0
        balanced = float((hits[present] / support[present]).mean())
        threshold = float(view.confidence[order[end - 1]])
        rows.append((end / len(order), threshold, float(hits.sum() / end), balanced, int(present.sum())))
    columns = ["coverage", "threshold", "accuracy", "balanced_accuracy", "classes"]
    return pl.DataFrame(rows, orient="row", schema=columns)


def threshold_table(view: ScoreView, classes: Sequence[int], recalls: Sequence[float] = RECALLS) -> pl.DataFrame:
    """Return the trade-off of thresholds of a class's probability: for some recalls, the precision and the alarms.

    Args:
        view: The probabilities.
        classes: Class indices.
        recalls: Recalls to reach, in (0, 1].
    Returns:
        Columns `class`, `recall` (the smallest one that is reached from there on), `threshold` (an alarm is a
        probability of at least this), `precision`, `alarms`, `false_alarms` and `missed` per 1,000 samples. Prevalence
        is that of these test samples.

    >>> from tailfit import evaluate
    >>> view = ScoreView(evaluate([0, 1, 0, 1], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.6, 0.4]]))
    >>> threshold_table(view, [1], [0.5, 1.0]).select("recall", "threshold", "alarms").row(1)
    (1.0, 0.4, 750.0)
    """
    rows = []
    for k in classes:
        curve, name = precision_recall_curve(view, k), view.evaluation.class_names[k]
        for wanted in recalls if curve.prevalence else ():
            place = int(np.searchsorted(curve.recall, wanted - 1e-12))
            recall, precision = float(curve.recall[place]), float(curve.precision[place])
            alarms = 1000 * curve.prevalence * recall / precision
            false, missed = alarms * (1 - precision), 1000 * curve.prevalence * (1 - recall)
            rows.append((name, recall, float(curve.threshold[place]), precision, alarms, false, missed))
    columns = {
        "class": pl.String,
        **dict.fromkeys(("recall", "threshold", "precision", "alarms", "false_alarms", "missed"), pl.Float64),
    }
    return pl.DataFrame(rows, orient="row", schema=columns)


def cheapest_thresholds(view: ScoreView, classes: Sequence[int], ratios: Sequence[float]) -> pl.DataFrame:
    """Return the threshold of each class with the smallest cost, for some costs of a missed sample.

    Args:
        view: The probabilities.
        classes: Class indices.
        ratios: Costs of a missed sample, in false alarms.
    Returns:
        Columns `class`, `ratio`, `threshold` (infinite where it is cheapest to raise no alarm at all), `recall`, and
        `alarms`, `false_alarms`, `missed` and `cost` per 1,000 samples; the cost is in false alarms. Of equal costs,
        the largest threshold.

    >>> from tailfit import evaluate
    >>> view = ScoreView(evaluate([0, 1, 0, 1], [[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.6, 0.4]]))
    >>> cheapest_thresholds(view, [1], [0.5, 5.0]).select("ratio", "threshold", "cost").rows()
    [(0.5, 0.7, 125.0), (5.0, 0.4, 250.0)]
    """
    rows = []
    for k in classes:
        curve, name = precision_recall_curve(view, k), view.evaluation.class_names[k]
        if not curve.prevalence:
            continue
        useful = curve.recall > 0  # before the first hit, no alarm is cheaper
        recall, threshold = np.append(0.0, curve.recall[useful]), np.append(np.inf, curve.threshold[useful])
        missed = 1000 * curve.prevalence * (1 - recall)
        alarms = 1000 * curve.prevalence * recall / np.append(1.0, curve.precision[useful])
        false = alarms - 1000 * curve.prevalence * recall
        for ratio in ratios:
            costs = ratio * missed + false
            place = int(np.argmin(costs))
            figures = (each[place] for each in (threshold, recall, alarms, false, missed, costs))
            rows.append((name, float(ratio), *map(float, figures)))
    names = ("ratio", "threshold", "recall", "alarms", "false_alarms", "missed", "cost")
    return pl.DataFrame(rows, orient="row", schema={"class": pl.String, **dict.fromkeys(names, pl.Float64)})


def confused_pairs(evaluation: EvaluationFigures, most: int = 20) -> pl.DataFrame:
    """Return the pairs of classes that are confused most often.

    Returns:
        Columns `class`, `predicted`, `samples`, and `share` of the samples of the class, most samples first.

    >>> from tailfit import evaluate
    >>> confused_pairs(evaluate([0, 0, 1], [0, 1, 1])).rows()
    [('0', '1', 1, 0.5)]
    """
    true, predicted, samples = cell_counts(evaluation.y_true, evaluation.y_pred, len(evaluation.class_names))
    wrong = np.flatnonzero(true != predicted)
    chosen = wrong[np.argsort(-samples[wrong], kind="stable")[:most]]
    support = np.bincount(evaluation.y_true, minlength=len(evaluation.class_names))
    names = np.array(evaluation.class_names, dtype=object)
    return pl.DataFrame(
        {
            "class": pl.Series(names[true[chosen]].tolist(), dtype=pl.String),
            "predicted": pl.Series(names[predicted[chosen]].tolist(), dtype=pl.String),
            "samples": samples[chosen],
            "share": samples[chosen] / support[true[chosen]],
        }
    )


def _logsumexp(logits: NDArray[Any]) -> Floats:
    """Return the logarithm of the sum of exponentials of each row.

    Exponentials are computed in the dtype of the logits, in a quarter of the time of SciPy's function.
    """
    limits = np.finfo(logits.dtype)
    finite = np.clip(logits, limits.min / 4, limits.max / 4)
    most = finite.max(axis=1, keepdims=True)
    finite -= most
    sums = np.exp(finite, out=finite).sum(axis=1, dtype=np.promote_types(finite.dtype, np.float32))
    return np.asarray(np.log(sums.astype(np.float64)) + most[:, 0].astype(np.float64), np.float64)


def _binned(values: Floats, outcomes: Floats) -> tuple[Codes, Floats, Floats]:
    """Return number, mean value and mean outcome of the samples in each bin; the last bin includes 1."""
    place = np.minimum((values * BINS).astype(np.int64), BINS - 1)
    samples = np.bincount(place, minlength=BINS).astype(np.int64)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=each, minlength=BINS) / samples for each in (values, outcomes)]
    return samples, *means  # type: ignore[return-value]


def _error(samples: Codes, mean: Floats, outcome: Floats) -> float:
    used = samples > 0
    return float((samples[used] * np.abs(mean[used] - outcome[used])).sum() / samples.sum())


def _isotonic(confidence: Floats, correct: Floats, grid: Floats) -> Floats:
    """Return the isotonic regression at each place of a grid, NaN outside of the data."""
    values, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    means = np.bincount(place.reshape(-1), weights=correct) / counts
    fitted = isotonic_regression(means, weights=counts).x
    return np.asarray(np.interp(grid, values, fitted, left=np.nan, right=np.nan), np.float64)
