"""The two forms of labels, with the operations that the formulas of losses need.

A loss over C exclusive classes is `sum_k y_k f_k`, where f_k depends on the log-probability of class k. For a class
index one term is left, and only that one is computed: the other C - 1, each multiplied by 0, would take several times
as long as the softmax. Formulas are written once for both forms, in terms of

- *labelled* values, those of the classes in the label: `(batch, ...)` for class indices, `(batch, ..., C)` for rows;
- `sum`, the weighted sum of labelled values over the classes of each sample, `(batch, ...)`.
"""

from abc import ABC, abstractmethod
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from tailfit.targets import Tensor, dense_targets, is_dense, valid_indices

__all__ = ["Labels", "labels_of"]


class Labels(ABC):
    """The labels of a batch, as class indices if `is_indices`, else as rows."""

    is_indices: bool

    @abstractmethod
    def of(self, values: Tensor) -> Tensor:
        """Return the labelled ones of values `(batch, ..., C)`."""

    @abstractmethod
    def of_classes(self, row: Tensor) -> Tensor:
        """Return the labelled ones of values `(C,)`, in a shape that broadcasts."""

    @abstractmethod
    def of_samples(self, values: Tensor) -> Tensor:
        """Return values `(batch, ...)` in a shape that broadcasts to labelled values."""

    @abstractmethod
    def log_softmax(self, logits: Tensor) -> Tensor:
        """Return labelled log-probabilities, with 0 in place of those whose label or weight is 0.

        Users disable a class with a logit of -inf. Its log-probability is -inf, and 0 * inf is NaN: in the sum, and in
        the gradient, too, unless the infinity is replaced before anything is computed from it.
        """

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of labelled values over classes, weighted by the labels, `(batch, ...)`."""

    @abstractmethod
    def class_sums(self, values: Tensor) -> Tensor:
        """Return for each labelled value the sum of those of its class in the batch, weighted by the labels."""

    @abstractmethod
    def weighted(self, weights: Tensor) -> Self:
        """Return these labels, multiplied by a number or by one weight per class `(C,)`."""

    @abstractmethod
    def added(self, logits: Tensor, row: Tensor) -> Tensor:
        """Return logits `(batch, ..., C)` plus values `(C,)`, each multiplied by the label of its class."""

    @abstractmethod
    def rows(self) -> Tensor:
        """Return the labels as rows `(batch, ..., C)`; NaN for invalid class indices."""

    @abstractmethod
    def log_labelled(self, log_p: Tensor) -> Tensor:
        """Return the labelled ones of log-probabilities `(batch, ..., C)`; see `log_softmax`."""

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Return `-sum_k y_k log p_k`; labels need not sum to 1."""
        return -self.sum(self.log_softmax(logits))


class Indices(Labels):
    """Class indices."""

    is_indices = True

    def __init__(self, indices: Tensor, one: Tensor, classes: int, weight: Any = None) -> None:
        self._indices = indices  # in [0, C)
        self._one = one  # NaN where the given index was invalid, else 1
        self._classes = classes
        self._weight = weight

    def of(self, values: Tensor) -> Tensor:
        return _picked(values, self._indices)

    def of_classes(self, row: Tensor) -> Tensor:
        return ops.take(row, self._indices)

    def of_samples(self, values: Tensor) -> Tensor:
        return values

    def log_softmax(self, logits: Tensor) -> Tensor:
        return self._unless_weight_0(-_nll(logits, self._indices))

    def log_labelled(self, log_p: Tensor) -> Tensor:
        return self._unless_weight_0(self.of(log_p))

    def _unless_weight_0(self, log_p: Tensor) -> Tensor:
        return log_p if self._weight is None else ops.where(self._weight == 0, 0.0, log_p)

    def sum(self, values: Tensor) -> Tensor:
        return values * (self._one if self._weight is None else self._one * self._weight)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        return self.sum(_nll(logits, self._indices)) if self._weight is None else super().cross_entropy(logits)

    def class_sums(self, values: Tensor) -> Tensor:
        # Not a sum by segments, whose order is not deterministic on a GPU.
        values = self.sum(values)
        samples = values.shape[0]
        if len(values.shape) == 1 and samples is not None and samples < self._classes:
            alike = ops.expand_dims(self._indices, 0) == ops.expand_dims(self._indices, 1)
            return ops.sum(ops.where(alike, values, 0.0), axis=1)
        rows = ops.where(self._hot(), ops.expand_dims(values, -1), 0.0)
        return self.of_classes(ops.sum(ops.reshape(rows, (-1, self._classes)), axis=0))

    def weighted(self, weights: Tensor) -> Self:
        weight = weights if len(np.shape(weights)) == 0 else self.of_classes(weights)
        weight = weight if self._weight is None else self._weight * weight
        return type(self)(self._indices, self._one, self._classes, weight)

    def added(self, logits: Tensor, row: Tensor) -> Tensor:
        if keras.backend.backend() == "torch" and len(logits.shape) == 2:  # a selection is several passes there
            samples = ops.arange(logits.shape[0], dtype="int32")
            places = ops.stack([samples, ops.cast(self._indices, "int32")], axis=1)
            return ops.scatter_update(logits, places, self.of_classes(row), reduction="add")
        return logits + ops.where(self._hot(), row, 0.0)

    def rows(self) -> Tensor:
        return ops.cast(self._hot(), self._one.dtype) * ops.expand_dims(self.sum(ops.ones_like(self._one)), -1)

    def _hot(self) -> Tensor:
        """Return whether each class is the one in the label, bool `(batch, ..., C)`."""
        return _hot(self._indices, self._classes)


class Rows(Labels):
    """One-hot or soft labels in the shape of the predictions."""

    is_indices = False

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def of(self, values: Tensor) -> Tensor:
        return values

    def of_classes(self, row: Tensor) -> Tensor:
        return row

    def of_samples(self, values: Tensor) -> Tensor:
        return ops.expand_dims(values, -1)

    def log_softmax(self, logits: Tensor) -> Tensor:
        return self.log_labelled(ops.log_softmax(logits, axis=-1))

    def log_labelled(self, log_p: Tensor) -> Tensor:
        return ops.where(self._rows == 0, 0.0, log_p)

    def sum(self, values: Tensor) -> Tensor:
        return ops.sum(self._rows * values, axis=-1)

    def class_sums(self, values: Tensor) -> Tensor:
        rows = self._rows * values
        return ops.sum(ops.reshape(rows, (-1, rows.shape[-1])), axis=0)

    def weighted(self, weights: Tensor) -> Self:
        return type(self)(self._rows * weights)

    def added(self, logits: Tensor, row: Tensor) -> Tensor:
        return logits + row * self._rows

    def rows(self) -> Tensor:
        return self._rows


def labels_of(y_true: Any, y_pred: Tensor, dtype: str) -> Labels:
    """Return labels in the form in which they are given; their numbers have the `dtype` of the loss."""
    y_true = ops.convert_to_tensor(y_true)
    if is_dense(y_true, y_pred):
        return Rows(dense_targets(y_true, y_pred, dtype))
    indices, valid = valid_indices(y_true, y_pred)
    valid = ops.cast(valid, dtype)
    return Indices(indices, valid / valid, int(y_pred.shape[-1]))  # 0 / 0 is NaN


def _hot(indices: Tensor, classes: int) -> Tensor:
    dtype = keras.backend.standardize_dtype(indices.dtype)
    return ops.expand_dims(indices, -1) == ops.convert_to_tensor(np.arange(classes, dtype=dtype))


def _picked(values: Tensor, indices: Tensor) -> Tensor:
    """Return the value at the index on the last axis."""
    if keras.backend.backend() == "jax":
        # XLA fuses a selection with the operations before it, and its gradient with those after it, but not a gather.
        return ops.sum(ops.where(_hot(indices, values.shape[-1]), values, 0.0), axis=-1)
    return ops.squeeze(ops.take_along_axis(values, ops.expand_dims(indices, -1), axis=-1), -1)


def _nll(logits: Tensor, indices: Tensor) -> Tensor:
    """Return the negative log-probability of one class per sample."""
    backend = keras.backend.backend()
    if backend == "jax":  # Keras multiplies log p by one-hot labels there: 0 * -inf
        return -_picked(ops.log_softmax(logits, axis=-1), indices)
    if backend == "torch" and len(logits.shape) > 2:  # flat: otherwise Keras copies the logits to move an axis
        flat = ops.reshape(logits, (-1, logits.shape[-1]))
        value = ops.sparse_categorical_crossentropy(ops.reshape(indices, (-1,)), flat, from_logits=True)
        return ops.reshape(value, tuple(indices.shape))
    if backend == "tensorflow":  # otherwise Keras replaces logits that a softmax returned with the input of the softmax
        logits = ops.squeeze(ops.expand_dims(logits, 0), 0)
    return ops.sparse_categorical_crossentropy(indices, logits, from_logits=True)
