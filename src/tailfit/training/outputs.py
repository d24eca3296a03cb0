"""Do the labels of a fit suit the model's outputs: are there any, and has each class an output?

Without a check, a code beyond the outputs makes the loss NaN on one backend, 0 on another, and an error of the
backend's own on the third; labels numbered from 1 are the usual case.

Concepts:
- *head*: an output with the loss that `compile` gave it. A functional model shows its shape; of another it is known
  once the compiled loss is built, before the first step is run: there the check waits for it.
- Only labels that reach the loss as they are can be checked, not those of a `train_step` or `compute_loss` of the
  user's own, which may change them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tailfit import keras_private as private
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
        path: Where it is in the structure of the outputs, and its labels in theirs.
        name: Of the output; None where the model doesn't name it.
        loss: A Keras loss.
        width, rank: Size of the last axis, and number of axes.
        masked: Whether the output has a mask: what it hides is not counted.
    """

    path: tuple[Any, ...]
    name: str | None
    loss: Any
    width: int | None
    rank: int
    masked: bool

    @property
    def codes(self) -> int | None:
        """How many class codes the loss takes; None where it takes none, or that can't be told."""
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
        """Whether the loss takes one-hot or soft labels, a row of `width` each."""
        return isinstance(self.loss, ClassificationLoss) or getattr(self.loss, "fn", None) in _DENSE

    @property
    def ignored(self) -> Any:
        """The code that the loss leaves out."""
        # Not an attribute in every Keras.
        return self.loss.get_config().get("ignore_class") if getattr(self.loss, "fn", None) in _SPARSE else None

    def __str__(self) -> str:
        classes = "1 unit" if self.width == 1 else f"{self.width} classes"
        return f"an output of {classes}" + (f" (layer {self.name!r})" if self.name else "")


@dataclass(frozen=True)
class Given:
    """What one loop is given: a `Feed`, or arrays; `what` is how messages call the labels."""

    what: str
    x: Any
    y: Any = None
    sample_weight: Any = None
    class_weight: Any = None

    @classmethod
    def validation(cls, data: Any) -> "Given":
        """Of `validation_data`."""
        if isinstance(data, tuple | list):
            return cls("validation labels", *keras.utils.unpack_x_y_sample_weight(tuple(data)))
        return cls("validation labels", data)


_waiting: ContextVar[Callable[[list[Head]], None] | None] = ContextVar("waiting", default=None)


def check_waiting_labels(heads: list[Head]) -> None:
    """Have the fit that waited for the heads of its model check its labels.

    Raises:
        ArgumentError: from that check.
    """
    check = _waiting.get()
    if check is not None:
        check(heads)
        _waiting.set(None)


def heads_of(entries: list[Any], names: Any, y_pred: Any) -> list[Head]:
    """The heads of a compiled loss.

    Args:
        entries: Its losses, each with `path`, `loss` and `name`.
        names: Of the outputs, or None.
        y_pred: The outputs.
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
    """Check the labels of a `fit` (the first of them for its training) or an `evaluate`, before a step is run.

    Raises:
        ArgumentError: for data without labels where the compiled loss needs them, and labels that have no output.
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
    token = _waiting.set(check if heads is None else None)
    try:
        yield
    finally:
        _waiting.reset(token)


def _known_heads(model: Any, compiled: Any) -> list[Head] | None:
    heads: list[Head] | None = getattr(compiled, "heads", None)
    if heads is None and isinstance(model, private.Functional):
        try:
            heads = heads_of(private.losses_of_outputs(model), compiled.output_names, model.output)
        except (KeyError, TypeError, ValueError):
            return None  # losses that don't fit the outputs: Keras says so itself
    return heads


def _reach_the_loss(model: Any, training: bool) -> bool:
    """Whether the labels go to the compiled loss as they are: not through a method of the user's own."""
    names = ("train_step" if training else "test_step", "compute_loss")
    return all(_room_of(getattr(type(model), name)) in ("tailfit", "keras") for name in names)


def _room_of(method: Any) -> str:
    return str(getattr(method, "__module__", "")).partition(".")[0]


def _at(structure: Any, path: tuple[Any, ...], names: Any) -> Any:
    """What is at a place of a structure of outputs, by name or by position; None where nothing is."""
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
        expected="labels, which the loss compares the outputs with",
        fix=f"{fix}; a model that needs none is compiled without a loss (add_loss), or has a train_step of its own",
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
            expected="a column for each output",
            fix=f"give the layer {columns} units, or check that the labels belong to this output",
        )


def _check_codes(given: Given, codes: np.ndarray[Any, Any], head: Head, names: Any) -> None:
    count = head.codes
    if count is None or (head.masked and codes.ndim > 1):
        return
    # Beside a single unit a label between 0 and 1 is a probability.
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
    """Which labels count in the loss: such as "no label" are often given a weight of 0, or named to the loss."""
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
        raise _beyond(f"{what} with code {codes[0]}{named}", head, count, lowest, encoded.num_classes - 1)


def _as_stored(batches: Batches) -> bool:
    """Whether labels reach the model as the source has them: asked only where those would be wrong."""
    if batches.transform is None:
        return True
    stored, made = batches._beside(0, batches.indices(0, 0))[0], batches.read(0, 0)
    return len(made) > 1 and np.array_equal(stored, made[1])


def _beyond(received: str, head: Head, count: int, lowest: Any, highest: Any) -> ArgumentError:
    most = int(highest) + 1 if np.isfinite(highest) else count
    fix = "give every sample the code of its class"
    if most > count:
        from_one = "number the classes from 0" + (" (y - 1)" if lowest >= 1 else "")
        fix = f"{from_one}, or give the layer {most} units"
    elif lowest < 0:
        fix = "number the classes from 0; leave samples without a label out, or give them a sample_weight of 0"
    return ArgumentError(
        f"{received} for {head}", expected=f"codes 0 to {count - 1}" if count > 1 else "code 0", fix=fix
    )
