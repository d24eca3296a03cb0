"""A classifier fitted by ridge regression in closed form, on the features of a trained or fixed network.

Where there are far more features than samples, as behind `minirocket`, the training data determine neither the scale
nor most directions of the weights. Ridge regression chooses the smallest weights, and its strength by the error of each
sample when it is left out, which needs no further fit.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.data import Batches
from tailfit.errors import ArgumentError, DataError
from tailfit.keras_private import Functional
from tailfit.stages.classifier import classifier_of
from tailfit.stages.ridge_regression import Floats, fit_ridge
from tailfit.training.model import Model

__all__ = ["STRENGTHS", "ridge_classifier"]

STRENGTHS = tuple(float(each) for each in np.logspace(-4, 2, 25))


def ridge_classifier(
    model: Model, batches: Batches, *, epochs: int = 1, strengths: Sequence[float] | None = None, head: Any = None
) -> dict[str, float]:
    """Compute the last layer by ridge regression of the labels, -1 or 1 for each class, on the features before it.

    Every sample of the source is used once in an epoch, with its weight: `class_weight="balanced"` gives all classes
    the same say. The strength is the one with the smallest weighted squared error of samples that are left out. The
    scores are then multiplied by the factor that maximises the likelihood of the samples left out, so they are logits,
    and can be calibrated and adjusted as such. Nothing is trained by steps.

    With a `transform`, such as `tailfit.augment.TimeWarp(share=0.8)`, pass `epochs=5`: each sample is then fitted in
    five random variants, which are left out together.

    Time and memory grow with the smaller of the numbers of rows (samples times epochs) and features, its cube and its
    square: up to about 10,000, as in the paper.

    Args:
        model: Functional model, trained or with fixed features, such as `tailfit.networks.minirocket`.
        batches: Batches of the training data with one class per sample.
        epochs: Number of passes over the samples. More than one is of use only with a random `transform`.
        strengths: Strengths to choose from, > 0, in units of the mean squared norm of the centred features; by default
            25 from 0.0001 to 100.
        head: See `retrain_classifier`.
    Returns:
        The chosen `strength`, the `scale` of the logits, and `accuracy`, the share of samples that are classified
        correctly when they are left out.
    Raises:
        ArgumentError: If the last layer is not found or the model is not functional, `epochs` is below 1, or a strength
            is not positive.
        DataError: If samples have no label or several, or fewer than two have a weight.
    Source: Dempster et al. 2021, arXiv:2012.08791, section 4, where it is the classifier; errors of samples left out:
        Golub, Heath & Wahba 1979, Technometrics 21(2), eq. 1.3.

    >>> import tailfit
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(60) % 3
    >>> x = rng.normal(size=(60, 30, 2)).astype("float32") + np.where(y, y - 3, 2)[:, None, None]
    >>> model = tailfit.networks.minirocket((30, 2), 3, num_features=420, records=x)
    >>> fitted = ridge_classifier(model, tailfit.Batches(tailfit.data.Arrays(x, y)))
    >>> bool(fitted["accuracy"] > 0.8), bool((model.predict(x, verbose=0).argmax(axis=1) == y).mean() > 0.9)
    (True, True)
    """
    layer = classifier_of(model, head)
    if not isinstance(model, Functional):
        raise ArgumentError(
            f"a model of type {type(model).__name__}",
            expected="a functional model, whose features can be computed",
            fix="build it with tailfit.Model(inputs, outputs)",
        )
    strengths = STRENGTHS if strengths is None else _checked_strengths(strengths)
    epochs = whole_number("epochs", epochs, least=1)
    features, targets, weights = _data_of(keras.Model(model.input, layer.input), batches, epochs, layer.units)
    ridge = fit_ridge(features, targets, weights, strengths, copies=epochs, centered=layer.use_bias)
    layer.kernel.assign(ridge.scale * ridge.kernel)
    if layer.use_bias:
        layer.bias.assign(ridge.scale * ridge.bias)
    return {"strength": ridge.strength, "scale": ridge.scale, "accuracy": ridge.accuracy}


def _data_of(before: keras.Model, batches: Batches, epochs: int, classes: int) -> tuple[NDArray[Any], Floats, Floats]:
    """Return features `(n, F)`, class shares `(n, C)` and weights `(n,)` of all samples in all epochs, one by one."""
    found, targets, weights = [], [], []
    ordered = batches.in_source_order()
    for batch in chain.from_iterable(ordered.iterate(epoch) for epoch in range(epochs)):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        y = None if y is None else np.asarray(y)
        if y is None or (y.ndim != 1 and (y.shape[1] != classes or not np.allclose(y.sum(axis=1), 1, atol=1e-3))):
            raise DataError(
                "samples without a label" if y is None else f"labels of shape {y.shape} that are not one class each",
                expected=f"one of {classes} classes for each sample",
                fix="pass Batches with labels, or use retrain_classifier for labels of several classes",
            )
        found.append(np.array(keras.ops.convert_to_numpy(before.predict_on_batch(x))))
        targets.append(np.eye(classes)[y] if y.ndim == 1 else y)
        weights.append(np.ones(len(y)) if weight is None else np.asarray(weight))
    features, weight = np.concatenate(found), np.concatenate(weights)
    if features.ndim != 2 or (weight > 0).sum() < 2 or not np.isfinite(features).all():
        raise DataError(
            f"features of shape {features.shape}, {(weight > 0).sum()} samples with a weight > 0"
            + (", and features that are not finite" if not np.isfinite(features).all() else ""),
            expected="finite features (samples, features), and two samples or more with a weight",
            fix="check the model and the data; call tailfit.networks.adapt_to before using minirocket",
        )
    if len(weight) % epochs or not (weight.reshape(epochs, -1) == weight[: len(weight) // epochs]).all():
        raise DataError(
            f"{len(weight)} samples in {epochs} epochs, which differ",
            expected="the same samples with the same weights in every epoch",
            fix="leave out records that cannot be read, or pass epochs=1",
        )
    return features, np.concatenate(targets).astype(np.float64), weight.astype(np.float64)


def _checked_strengths(strengths: Any) -> Sequence[float]:
    values = np.asarray(strengths, dtype=object).ravel().tolist()
    if values and all(isinstance(each, int | float) and 0 < each < float("inf") for each in values):
        return [float(each) for each in values]
    raise ArgumentError(
        f"strengths={strengths!r}", expected="positive numbers", fix="drop strengths, or pass [0.01, 1]"
    )
