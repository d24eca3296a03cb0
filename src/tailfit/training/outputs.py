"""Check that the labels of a fit match the model's outputs: labels are present, and each class has an output.

Without this check, a class index beyond the outputs gives a loss of NaN on one backend, 0 on another and a backend's
own error on the third. The usual case is labels numbered from 1.

Concepts:
- *head*: an output together with its compiled loss. A functional model shows the shape of the output; for other models
  it is known when the compiled loss is built, just before the first step: the check is deferred until then.
- Only labels that reach the loss unchanged can be checked. A custom `train_step` or `compute_loss` may change them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tailfit import keras_private as private
from tailfit.contexts import assigned
from tailfit.data import Batches
from tailfit.errors import ArgumentError
from tailfit.losses._base import ClassificationLoss
from tailfit.training.feed import Feed

__all__ = ["Given", "Head", "check_waiting_labels", "heads_of", "labels_checked"]

_SPARSE = {keras.losses.sparse_categorical_crossentropy}
_DENSE = {keras.losses.categorical_crossentropy, keras.losses.categorical_focal_crossentropy}
_BINARY = {keras.losses.binary_crossentropy, keras.losses.binary_focal_crossentropy}


@dataclass(frozen=True)
class Head:
    """An output and its loss.

    Attributes:
        path: Path of the output in the structure of all outputs, and of its labels in theirs.
        name: Name of the output; None if the model has no names.
        loss: Keras loss.
        width, rank: Size of the last axis, and number of axes.
        masked: Whether the output has a mask; masked positions do not count.
    """

    path: tuple[Any, ...]
    name: str | None
    loss: Any
    width: int | None
    rank: int
    masked: bool

    @property
    def codes(self) -> int | None:
        """Number of class indices that the loss takes; None if it takes none, or if this is not known."""
        function = getattr(self.loss, "fn", None)
        if self.rank < 2 or self.width is None:
            return None
        if self.width == 1:
            if isinstance(self.loss, ClassificationLoss) or function in _BINARY:
                return 2
            return 1 if function in _SPARSE else None
        return self.width if isinstance(self.loss, ClassificationLoss) or function in _SPARSE else None

    @property
    def takes_rows(self) -> bool:
        """Whether the loss takes one-hot or soft labels, rows of `width` numbers."""
        return isinstance(self.loss, ClassificationLoss) or getattr(self.loss, "fn", None) in _DENSE

    @property
    def ignored(self) -> Any:
        """Class index that the loss ignores, or None."""
        # An attribute in some versions of Keras only.
        return self.loss.get_config().get("ignore_class") if getattr(self.loss, "fn", None) in _SPARSE else None

    def __str__(self) -> str:
        classes = "1 unit" if self.width == 1 else f"{self.width} classes"
        return f"an output of {classes}" + (f" (layer {self.name!r})" if self.name else "")


@dataclass(frozen=True)
class Given:
    """The data that a loop was given: a `Feed`, or arrays. `what` names the labels in messages."""

    what: str
    x: Any
    y: Any = None
    sample_weight: Any = None
    class_weight: Any = None

    @classmethod
    def validation(cls, data: Any) -> "Given":
        """Return the parts of `validation_data`."""
        if isinstance(data, tuple | list):
            return cls("validation labels", *keras.utils.unpack_x_y_sample_weight(tuple(data)))
        return cls("validation labels", data)


_waiting: ContextVar[Callable[[list[Head]], None] | None] = ContextVar("waiting", default=None)


def check_waiting_labels(heads: list[Head]) -> None:
    """Run the check of labels that a fit has deferred until the heads of its model are known.

    Raises:
        ArgumentError: If labels do not match.
    """
    check = _waiting.get()
    if check is not None:
        check(heads)
        _waiting.set(None)


def heads_of(entries: list[Any], names: Any, y_pred: Any) -> list[Head]:
    """Return the heads of a compiled loss.

    Args:
        entries: Its losses, each with `path`, `loss` and `name`.
        names: Names of the outputs, or None.
        y_pred: Outputs of the model.
    """
    heads = []
    for entry in entries:
        output = _at(y_pred, entry.path, names)
        if output is None:
            continue
        shape = output.shape
        width = int(shape[-1]) if len(shape) and shape[-1] is not None else None
        named = entry.name if names and entry.name in keras.tree.flatten(names) else None
        masked = private.get_keras_mask(output) is not None
        heads.append(Head(entry.path, named, entry.loss, width, len(shape), masked))
    return heads


@contextmanager
def labels_checked(model: keras.Model, *given: Given | None, training: bool) -> Iterator[None]:
    """Check the labels of a `fit` or an `evaluate` before its first step.

    Args:
        model: A compiled model.
        *given: Data of the loop; for a `fit`, its training data and then its validation data.
        training: Whether the first of them are training data.
    Raises:
        ArgumentError: If labels are missing that the compiled loss needs, or a label has no output.
    """
    compiled = private.compiled_loss(model)
    checked = [part for number, part in enumerate(given) if part and _reach_the_loss(model, training and number == 0)]
    if compiled is None or not checked:
        yield
        return
    for part in checked:
        _refuse_missing(part, model.loss)

    def check(heads: list[Head]) -> None:
        for part in checked:
            for head in heads:
                _check(part, head, compiled.output_names, alone=len(heads) == 1)

    heads = _known_heads(model, compiled)
    if heads is not None:
        check(heads)
    with assigned(_waiting, check if heads is None else None):
        yield


def _known_heads(model: Any, compiled: Any) -> list[Head] | None:
    heads: list[Head] | None = getattr(compiled, "heads", None)
    if heads is None and isinstance(model, private.Functional):
        try:
            heads = heads_of(private.losses_of_outputs(model), compiled.output_names, model.output)
        except (KeyError, TypeError, ValueError):
            return None  # the losses do not match the outputs: Keras raises its own error
    return heads


def _reach_the_loss(model: Any, training: bool) -> bool:
    """Return whether labels reach the compiled loss unchanged: no method of the user is in between."""
    names = ("train_step" if training else "test_step", "compute_loss")
    return all(_package_of(getattr(type(model), name)) in ("tailfit", "keras") for name in names)


def _package_of(method: Any) -> str:
    return str(getattr(method, "__module__", "")).partition(".")[0]


def _at(structure: Any, path: tuple[Any, ...], names: Any) -> Any:
    """Return the entry at a path of a structure of outputs, by name or position; None if there is none."""
    for key in path:
        try:
            if isinstance(structure, dict):
                structure = structure[key if key in structure else names[key]]
            elif isinstance(structure, list | tuple):
                structure = structure[key if isinstance(key, int) else list(names).index(key)]
            elif [key] not in ([0], list(names or ())):
                return None
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    if isinstance(structure, list | tuple) and len(structure) == 1:
        structure = structure[0]
    return None if keras.tree.is_nested(structure) else structure


def _refuse_missing(given: Given, loss: Any) -> None:
    if given.y is not None:
        return
    if isinstance(given.x, Feed):
        batches = given.x.batches
        if batches.source.labels is not None:
            return
        received, fix = f"Batches of the unlabelled {batches.source!r}", "pass labels to the source"
    elif given.x is not None and all(map(_is_array, keras.tree.flatten(given.x))):
        received, fix = "x without y", "pass y"
    else:
        return  # a data set of another kind
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "dict of losses")
    if given.what.startswith("validation"):
        received = f"{received} as validation_data"
    raise ArgumentError(
        f"{received} for a model compiled with the loss {name!r}",
        expected="labels, since the loss compares the outputs with them",
        fix=f"{fix}; to train without labels, compile without a loss (add_loss) or override train_step",
    )


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "__array__") or bool(keras.ops.is_tensor(leaf))


def _check(given: Given, head: Head, names: Any, *, alone: bool) -> None:
    if isinstance(given.x, Feed):
        if alone:
            _check_batches(given.what, given.x.batches, head)
        return
    y = _at(given.y, head.path, names) if head.takes_rows or head.codes is not None else None
    if y is None or not _is_array(y):
        return
    labels = np.asarray(keras.ops.convert_to_numpy(y) if keras.ops.is_tensor(y) else y)
    if labels.dtype.kind not in "iufb" or not labels.size:
        return
    if labels.ndim == head.rank and labels.shape[-1] != 1:
        _check_rows(given.what, labels.shape[-1], head)
    elif labels.ndim in (head.rank, head.rank - 1):
        _check_codes(given, labels[..., 0] if labels.ndim == head.rank else labels, head, names)


def _check_rows(what: str, columns: int, head: Head) -> None:
    if head.takes_rows and head.rank >= 2 and head.width is not None and columns != head.width:
        raise ArgumentError(
            f"{what} of {columns} columns for {head}",
            expected="one column per output",
            fix=f"give the layer {columns} units, or check that these labels belong to this output",
        )


def _check_codes(given: Given, codes: np.ndarray[Any, Any], head: Head, names: Any) -> None:
    count = head.codes
    if count is None or (head.masked and codes.ndim > 1):
        return
    # With a single unit, a label between 0 and 1 is a probability.
    whole = codes.dtype.kind != "f" or head.width == 1 or bool(np.all(codes == np.floor(codes)))
    lowest, highest = codes.min(), codes.max()  # NaN if there is one
    if whole and lowest >= 0 and highest <= count - 1:
        return
    bad = ~((codes >= 0) & (codes <= count - 1))
    if not whole:
        bad |= codes != np.floor(codes)
    bad &= _counted(codes, given, head, names)
    if not bad.any():
        return
    place = np.unravel_index(int(np.argmax(bad)), bad.shape)
    raise _beyond(f"{given.what} whose row {place[0]} is {codes[place]:g}", head, count, lowest, highest)


def _counted(codes: np.ndarray[Any, Any], given: Given, head: Head, names: Any) -> Any:
    """Return which labels count in the loss: "no label" often has a weight of 0, or is the ignored class."""
    counted = np.ones(codes.shape, bool) if head.ignored is None else codes != head.ignored
    if isinstance(given.class_weight, dict):
        counted &= ~np.isin(codes, [code for code, weight in given.class_weight.items() if weight == 0])
    weight = given.sample_weight
    if keras.tree.is_nested(weight):
        weight = _at(weight, head.path, names)
    if weight is not None:
        weight = np.asarray(keras.ops.convert_to_numpy(weight) if keras.ops.is_tensor(weight) else weight)
        if weight.ndim == codes.ndim + 1 and weight.shape[-1] == 1:
            weight = weight[..., 0]
        weight = weight.reshape(weight.shape + (1,) * (codes.ndim - weight.ndim))
        if weight.ndim == codes.ndim and len(weight) == len(codes):
            counted &= weight != 0
    return counted


def _check_batches(what: str, batches: Batches, head: Head) -> None:
    encoded = batches.source.encoded
    if encoded is None or head.path not in ((), (0,), (head.name,)):
        return
    if batches.one_hot or encoded.kind != "codes":
        if _as_stored(batches):
            _check_rows(what, encoded.num_classes, head)
        return
    count = head.codes
    if count is None or encoded.num_classes <= count or head.rank != 2:
        return
    fixed = batches.weights is not None and batches.class_weight_schedule is None
    counted = np.bincount(encoded.values, batches.weights if fixed else None, encoded.num_classes)
    codes = [code for code in np.flatnonzero(counted) if code >= count and code != head.ignored]
    if codes and _as_stored(batches):
        lowest = int(np.flatnonzero(encoded.class_counts)[0])
        name = encoded.class_names[codes[0]]
        named = "" if name == str(codes[0]) else f" ({name!r})"
        raise _beyond(f"{what} with class index {codes[0]}{named}", head, count, lowest, encoded.num_classes - 1)


def _as_stored(batches: Batches) -> bool:
    """Return whether the transform leaves labels as the source has them; needed only where those would be wrong."""
    if batches.transform is None:
        return True
    stored, made = batches._labels_and_weights(0, batches.indices(0, 0))[0], batches.read(0, 0)
    return len(made) > 1 and np.array_equal(stored, made[1])


def _beyond(received: str, head: Head, count: int, lowest: Any, highest: Any) -> ArgumentError:
    most = int(highest) + 1 if np.isfinite(highest) else count
    fix = "give every sample the index of its class"
    if most > count:
        from_one = "number the classes from 0" + (" (y - 1)" if lowest >= 1 else "")
        fix = f"{from_one}, or give the layer {most} units"
    elif lowest < 0:
        fix = "number the classes from 0; drop samples without a label, or give them a sample_weight of 0"
    return ArgumentError(
        f"{received} for {head}", expected=f"class indices 0 to {count - 1}" if count > 1 else "class index 0", fix=fix
    )
