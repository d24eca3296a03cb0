"""Traps 16 and 27: metrics that ignore weights, and metrics that frequent classes dominate."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.diagnosis.batches import Batch, first_rows
from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup

__all__: list[str] = []

_ACCURACY = {
    "acc", "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy", "Accuracy",
    "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy",
}  # fmt: skip
_DOMINANT = 0.9


@check(16, "metrics ignore the weights", calls=("fit", "evaluate"))
def unweighted_metrics(setup: Setup) -> Iterator[Problem]:
    """Weights of an evaluation reach `weighted_metrics` only; without any, they hardly have a use."""
    if not setup.metrics or setup.weighted_metrics:
        return
    evaluated = _evaluated(setup)
    if evaluated is None:
        return
    weights = evaluated.weights
    if weights is None or np.ptp(weights) == 0:
        return
    names = ", ".join(map(_name, setup.metrics))
    yield Problem(
        f"The evaluated data have sample weights, but metrics=[{names}] ignore them: only val_loss and "
        f"weighted_metrics "
        "use weights. A callback that monitors such a metric chooses by unweighted numbers.",
        "pass these metrics as compile(weighted_metrics=[...])",
        "the same, since metrics and weighted_metrics keep Keras' meaning",
        _both_accuracies(setup, evaluated),
        setup.here,
    )


def _evaluated(setup: Setup) -> Batch | None:
    """Return the rows (at most some hundreds) that are evaluated with weights; None if there are none."""
    if setup.call == "evaluate":
        return setup.batch
    given = setup.get("validation_data")
    if isinstance(given, tuple | list) and len(given) == 3 and given[2] is not None:
        return Batch(*(first_rows(part, 256) for part in given))
    return None


def _both_accuracies(setup: Setup, batch: Batch) -> str | None:
    predicted = setup.predict(batch.x)
    if not any(_name(each) in _ACCURACY for each in setup.metrics) or predicted is None or batch.labels is None:
        return None
    correct = _correct(batch.labels, predicted)
    weights = batch.weights
    if correct is None or weights is None or correct.shape != weights.shape:
        return None
    return (
        f"accuracy of the first {len(correct)} samples: {correct.mean():.4f} as reported, "
        f"{np.average(correct, weights=weights):.4f} with their weights"
    )


def _correct(y: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64] | None:
    if predicted.ndim != 2:
        return None
    if predicted.shape[1] == 1:
        return np.asarray((predicted[:, 0] > 0.5) == (y.reshape(len(y), -1)[:, 0] > 0.5), dtype=np.float64)
    codes = y.argmax(axis=1) if y.shape == predicted.shape else y.reshape(len(y), -1)[:, 0]
    return np.asarray(predicted.argmax(axis=1) == codes, dtype=np.float64)


@check(27, "F1Score of class indices")
def f1_of_indices(setup: Setup) -> Iterator[Problem]:
    """`F1Score` expects one-hot rows; class indices of shape (n, 1) are broadcast without an error."""
    batch = setup.batch
    y = None if batch is None else batch.labels
    scores = [each for each in [*setup.metrics, *setup.weighted_metrics] if isinstance(each, keras.metrics.FBetaScore)]
    if batch is None or y is None or not scores or y.dtype.kind not in "iuf":
        return
    predicted = setup.predict(batch.x)
    width = predicted.shape[-1] if predicted is not None else setup.outputs[0].shape[-1] if setup.outputs else None
    if width in (None, 1) or (y.ndim == 2 and y.shape[1] == width):
        return
    numbers = None
    if predicted is not None and y.ndim == 2:
        rows = np.eye(width, dtype="float32")[y[:, 0].astype(int)]
        values = [_score(scores[0], labels, predicted) for labels in (y, rows)]
        numbers = f"on the first batch it returns {values[0]}, where F1 of these labels is {values[1]}"
    yield Problem(
        f"{type(scores[0]).__name__} compares class indices of shape {y.shape} with rows of {width} scores: "
        + (
            "they are broadcast, and the result is meaningless." if y.ndim == 2 else "fit raises an error about shapes."
        ),
        f"pass one-hot labels, keras.utils.to_categorical(y, {width}), and a categorical loss",
        "tailfit.metrics.MacroF1 takes class indices and one-hot labels",
        numbers,
        setup.compiled,
    )


def _score(metric: Any, y: NDArray[Any], predicted: NDArray[Any]) -> Any:
    fresh = type(metric).from_config(metric.get_config())
    fresh.update_state(y.astype("float32"), predicted)
    return np.round(keras.ops.convert_to_numpy(fresh.result()), 4).tolist()


@check(27, "accuracy of mostly one class")
def accuracy_only(setup: Setup) -> Iterator[Problem]:
    """Keras has no balanced accuracy; accuracy rewards a model that only predicts the frequent class."""
    metrics = [*setup.metrics, *setup.weighted_metrics]
    if setup.classes is None or len(setup.classes) < 20 or not metrics:
        return
    if not all(_name(each) in _ACCURACY for each in metrics) or (setup.classes < 0).any():
        return
    counts = np.bincount(setup.classes)
    present = int((counts > 0).sum())
    share = counts.max() / counts.sum()
    if share < _DOMINANT or present < 2:
        return
    yield Problem(
        "Accuracy is the only metric, and one class dominates it. Keras has no balanced accuracy.",
        "add a recall per class, e.g. keras.metrics.Recall(class_id=k) with one-hot labels, or compute "
        "sklearn.metrics.balanced_accuracy_score from model.predict",
        "tailfit.metrics.BalancedAccuracy(), MacroF1, PerClassRecall; tailfit.evaluate",
        f"a model that always predicts class {int(counts.argmax())} has accuracy {share:.3f} on these labels, and "
        f"balanced accuracy {1 / present:.3f}",
        setup.compiled,
    )


def _name(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "__name__", type(metric).__name__))
