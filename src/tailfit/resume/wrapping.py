"""Conversion of arrays passed to `fit` into `Batches`, whose order of samples is known at every step."""

from typing import Any

import keras
import numpy as np

from tailfit.data import Arrays, Batches
from tailfit.errors import ArgumentError
from tailfit.keras_private import get_random_seed
from tailfit.samplers import Sequential, Shuffle
from tailfit.training.feed import Feed

__all__ = ["as_batches"]

_DEFAULT_BATCH = 32  # Keras' default


def as_batches(model: keras.Model, call: dict[str, Any]) -> Batches:
    """Return the training data of a `fit` as `Batches`, and remove the arguments that they replace from `call`.

    Args:
        model: The model to be trained.
        call: Arguments of `fit` by name.
    Raises:
        ArgumentError: If the order of the data is unknown, or an argument has no equivalent in `Batches`.
    """
    x, validation = call.get("x"), call.get("validation_data")
    if hasattr(validation, "__next__"):
        raise ArgumentError(
            f"validation_data of type {type(validation).__name__} in a fit with Resume",
            expected="data that can be read repeatedly",
            fix="pass arrays, or a tailfit.Batches",
        )
    if isinstance(x, Feed):
        return x.batches
    if isinstance(x, Batches):
        return x
    parts = [part for part in (x, call.get("y"), call.get("sample_weight")) if part is not None]
    if not all(isinstance(leaf, np.ndarray) or keras.ops.is_tensor(leaf) for leaf in keras.tree.flatten(parts) or [x]):
        raise ArgumentError(
            f"x of type {type(x).__name__} in a fit with Resume",
            expected="a tailfit.Batches, or arrays",
            fix="wrap the data: tailfit.Batches(tailfit.data.Arrays(x, y)), or another source of tailfit.data",
        )
    x, y, sample_weight = (_as_numpy(part) for part in (x, call.get("y"), call.get("sample_weight")))
    for name in ("validation_split", "steps_per_epoch"):
        if call.get(name):
            raise ArgumentError(
                f"{name} in a fit with Resume",
                expected="arrays that are trained on completely, or Batches",
                fix="split the arrays before fit",
            )
    labels = None if y is None else _labels(y)
    batches = Batches(
        Arrays(x, labels, nan="keep"),
        batch_size=call.get("batch_size") or _DEFAULT_BATCH,
        sampler=Shuffle() if call.get("shuffle", True) else Sequential(),
        seed=get_random_seed() or 0,
        class_weight=call.get("class_weight"),
        sample_weight=sample_weight,
        one_hot=labels is not None and labels.ndim == 2,
    )
    for name in ("y", "batch_size", "class_weight", "sample_weight", "shuffle"):
        call.pop(name, None)
    return batches


def _as_numpy(arrays: Any) -> Any:
    if arrays is None:
        return None
    return keras.tree.map_structure(lambda leaf: np.asarray(keras.ops.convert_to_numpy(leaf)), arrays)


def _labels(y: Any) -> Any:
    """Return class indices or one-hot labels; class indices in a column, as Keras accepts them, become a vector."""
    if keras.tree.is_nested(y):
        raise ArgumentError(
            "several arrays of labels in a fit with Resume",
            expected="one array of labels",
            fix="pass a tailfit.Batches",
        )
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
