"""Traps 13 to 15, 17 and 29: the loss that is reported or minimised is not the one that the weights suggest."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.diagnosis.batches import Batch, first_rows, rows
from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup

__all__: list[str] = []

_BY_WEIGHT = "mean_with_sample_weight"
_BY_SIZE = ("sum_over_batch_size", "mean")


@check(13, "val_loss is not weighted like the training loss")
def unweighted_validation(setup: Setup) -> Iterator[Problem]:
    """`class_weight` applies to training data only, but callbacks compare `val_loss`."""
    weights = setup.class_weight
    if len(set(weights.values())) < 2 and set(weights.values()) <= {1.0}:
        return
    data = setup.get("validation_data")
    if data is None and not setup.get("validation_split"):
        return
    if isinstance(data, tuple | list) and len(data) == 3 and data[2] is not None:
        return
    callback = next((each for each in setup.callbacks if getattr(each, "monitor", None) == "val_loss"), None)
    if callback is None or (hasattr(callback, "save_best_only") and not callback.save_best_only):
        return
    yield Problem(
        f"class_weight weights the training loss only. {type(callback).__name__} decides by val_loss, in which every "
        "sample weighs 1, so frequent classes decide.",
        "pass validation_data=(x, y, weights[y]), or monitor a metric that does not depend on class frequencies",
        "fit(..., validation_class_weight=...), or class_weight= for both Batches",
        _validation_losses(setup, data),
    )


def _validation_losses(setup: Setup, data: Any) -> str | None:
    if isinstance(data, tuple | list) and len(data) == 2:
        batch = Batch(first_rows(data[0], 256), first_rows(data[1], 256))
    elif data is None and setup.kind == "arrays":
        start = setup.samples or 0
        batch = Batch(*(rows(setup.arguments.get(name), start, start + 256) for name in ("x", "y")))
    else:
        return None
    predicted = setup.predict(batch.x)
    weights = setup.weights(batch)
    if predicted is None or weights is None or not isinstance(setup.loss, keras.losses.Loss):
        loss = keras.losses.get(setup.loss) if setup.loss is not None else None
        if predicted is None or weights is None or loss is None:
            return None
        each = np.asarray(keras.ops.convert_to_numpy(loss(batch.y, predicted)))
        plain, weighted = float(each.mean()), float((each * weights).mean())
    else:
        plain = setup.value(setup.loss, batch, predicted)
        weighted = setup.value(setup.loss, batch, predicted, weights)
    present = f"val_loss of {len(predicted)} samples is {plain:.4g} with the model as it is"
    return f"{present}; weighted like the training loss it is {weighted:.4g}"


@check(14, "the reported loss is not that of the epoch")
def averaged_batches(setup: Setup) -> Iterator[Problem]:
    """Keras averages the losses of batches by their sizes, whatever the reduction."""
    reduction = getattr(setup.loss, "reduction", None)
    if reduction not in ("sum", _BY_WEIGHT):
        return
    measured = [each for each in setup.measured if reduction == "sum" or each[2] is not None]
    if len(measured) < 2:
        return
    values = np.array([setup.value(setup.loss, batch, out, weights) for batch, out, weights in measured])
    sizes = np.array([len(out) for _, out, _ in measured], dtype=float)
    reported = float(np.average(values, weights=sizes))
    if reduction == "sum":
        truth, means = float(values.sum()), "their sum"
    else:
        truth, means = float(np.average(values, weights=_sums(measured))), "the loss of all their samples, Σwl/Σw,"
    if abs(reported - truth) <= 0.01 * abs(truth):
        return
    yield Problem(
        f'With reduction="{reduction}", Keras still reports the mean over batches, weighted by their sizes, as the '
        f"loss "
        "of the epoch (and as val_loss). The number depends on how samples fall into batches.",
        'use the default reduction="sum_over_batch_size" with weights of mean 1, or compute the loss of the epoch '
        "once, "
        "from model.predict",
        "tailfit.Model reports the loss of the whole epoch for every reduction",
        f"for {len(measured)} of your batches Keras reports {reported:.4g}; {means} is {truth:.4g}",
        setup.compiled,
    )


@check(15, "weights change the scale of the objective")
def weights_of_another_scale(setup: Setup) -> Iterator[Problem]:
    """The default objective divides by the number of samples, not by the sum of the weights."""
    if not any(_reduction(loss) in _BY_SIZE for loss in setup.losses):
        return
    weights = _all_weights(setup)
    mean = float(weights.mean()) if weights is not None and weights.size else 1.0
    # Adam and its kin divide by the size of the gradients, until that comes near their epsilon.
    far = 1000.0 if hasattr(setup.model.optimizer, "epsilon") else 10.0
    if weights is None or 1 / far <= mean <= far or not np.isfinite(mean):
        return
    yield Problem(
        "The default loss is Σwl/N, not Σwl/Σw: weights that do not average 1 scale the loss, its gradients, and with "
        "SGD the learning rate; with Adam they shift the balance to its epsilon and to regularizers.",
        "divide the weights by their mean over the training samples",
        'tailfit.weights.class_weights(y, "balanced") has mean 1 over the samples',
        f"the mean weight of {weights.size} samples is {mean:.3g}: gradients are {mean:.3g} times those without "
        f"weights",
    )


@check(15, "every batch has the same total weight")
def equal_batches(setup: Setup) -> Iterator[Problem]:
    """With Σwl/Σw, a batch of little weight has a full gradient."""
    if getattr(setup.loss, "reduction", None) != _BY_WEIGHT:
        return
    sums = [float(np.sum(weights)) for batch in setup.batches if (weights := setup.weights(batch)) is not None]
    if len(sums) < 2 or min(sums) <= 0 or max(sums) / min(sums) < 4:
        return
    yield Problem(
        'With reduction="mean_with_sample_weight" each batch has the gradient of a full one, however small its '
        "weights: "
        "samples of a light or short batch count many times.",
        'use the default reduction="sum_over_batch_size", with weights of mean 1',
        "the same; docs: A weighted objective depends on the batch size",
        f"Σw of your batches is {_listed(sums)}: a unit of weight counts {max(sums) / min(sums):.3g} times as much in "
        "the lightest as in the heaviest",
        setup.compiled,
    )


@check(17, "zero weights are not a mask")
def zero_weights(setup: Setup) -> Iterator[Problem]:
    """Positions of weight 0 count in the divisor; masked positions do not."""
    batch = setup.batch
    weights = None if batch is None else batch.weights
    if batch is None or weights is None or not any(_reduction(loss) in _BY_SIZE for loss in setup.losses):
        return
    share = float(np.mean(weights == 0))
    if share < (0.1 if weights.ndim > 1 and weights.shape[-1] > 1 else 0.5) or share == 1:
        return
    each = (weights == 0).reshape(len(weights), -1).mean(axis=1)
    numbers = f"{share:.0%} of the weights of the first batch are 0: its loss is {1 - share:.2f} of that of a mask"
    if weights.ndim > 1 and np.ptp(each):
        numbers += f"; by sample {each.min():.0%} to {each.max():.0%}"
    yield Problem(
        "The loss is Σwl divided by the number of all positions, those of weight 0 included. With a mask it is divided "
        "by the unmasked ones. So the more padding a batch has, the smaller are its loss and gradients.",
        'pass reduction="mean_with_sample_weight" to the loss, or use a mask (keras.layers.Masking, mask_zero=True)',
        "the same objective, but the loss that is reported is exact for masks and weights",
        numbers,
        setup.compiled,
    )


@check(29, "accumulated gradients of unequal weight")
def accumulation(setup: Setup) -> Iterator[Problem]:
    """Keras divides by the number of steps, whatever the weights of their batches."""
    optimizer = setup.model.optimizer
    steps = getattr(getattr(optimizer, "inner_optimizer", optimizer), "gradient_accumulation_steps", None)
    if not steps or steps < 2 or getattr(setup.loss, "reduction", None) != _BY_WEIGHT:
        return
    sums = [float(np.sum(weights)) for batch in setup.batches if (weights := setup.weights(batch)) is not None]
    if len(sums) < 2 or np.ptp(sums) <= 0.01 * max(sums):
        return
    yield Problem(
        f"gradient_accumulation_steps={steps} averages the gradients of {steps} batches equally. Each is a mean over "
        f"the "
        "weights of its own batch, so the sum is not the gradient of one large batch.",
        'use reduction="sum_over_batch_size" and batches of equal size: then the mean of means is exact',
        "steps=[tailfit.steps.Accumulate(parts=K)] splits a batch into parts whose gradients add up exactly",
        f"Σw of your batches is {_listed(sums)}, and each counts 1/{steps}",
        setup.compiled,
    )


def _reduction(loss: Any) -> str | None:
    """Return the reduction of a loss; functions get the default."""
    return getattr(loss, "reduction", "sum_over_batch_size")


def _all_weights(setup: Setup) -> NDArray[Any] | None:
    """Return the weights of all samples of arrays, else of the first batches."""
    if setup.kind == "arrays":
        y, given = setup.labels, first_rows(setup.arguments.get("sample_weight"), setup.samples or 0)
        return setup.weights(Batch(None, y, given)) if setup.class_weight else Batch(None, y, given).weights
    found = [weights for batch in setup.batches if (weights := setup.weights(batch)) is not None]
    return np.concatenate([each.ravel() for each in found]) if found else None


def _sums(measured: list[tuple[Batch, NDArray[Any], Any]]) -> NDArray[Any]:
    return np.array([float(np.sum(weights)) for _, _, weights in measured])


def _listed(values: list[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
