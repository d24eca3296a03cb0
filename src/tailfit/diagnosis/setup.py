"""A call of `fit` or `evaluate` before it runs: model, data, arguments, and their lines in a script."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit import keras_private as private
from tailfit.diagnosis.batches import Batch, Kind, first_rows, generators_restored, kind_of, read, rows
from tailfit.diagnosis.finding import Place
from tailfit.diagnosis.source_code import Code, is_user_defined, methods_of

__all__ = ["Observed", "Setup"]

_SHOWN = 4  # batches that are read for demonstrations
_STEPS = ("train_step", "test_step", "compute_loss", "compute_loss_and_updates", "call")


@dataclass
class Observed:
    """Observations of a few real training steps.

    Attributes:
        optimizers: Updates of each optimizer that is an attribute of the model, by name.
        stale: Paths of variables that an inner `StatelessScope` read past the outer one.
        penalties_read: Whether the step asked for the penalties of regularizers and `add_loss`.
        default_loss: Whether it called the `compute_loss` of Keras, which adds them.
        called_without_penalties: Whether, on JAX, the step called the model without asking for them.
        error: Exception that the steps raised.
    """

    optimizers: dict[str, int] = field(default_factory=dict)
    stale: list[tuple[str, Place]] = field(default_factory=list)
    penalties_read: bool = False
    default_loss: bool = False
    called_without_penalties: bool = False
    error: BaseException | None = None


@dataclass
class Setup:
    """A call of `fit` or `evaluate`, before it runs. Everything read from it leaves model and data as they were.

    Attributes:
        model: Compiled Keras model.
        arguments: Arguments of the call by name; defaults are left out.
        call: "fit" or "evaluate".
        places: Lines of the script by what they do: "fit", "evaluate", "compile".
        first: First batch, where it was read before (a generator can be read once only).
        observed: Observations of the first steps; None if none ran.
    """

    model: Any
    arguments: Mapping[str, Any]
    call: str = "fit"
    places: Mapping[str, Place] = field(default_factory=dict)
    first: Any = None
    observed: Observed | None = None

    def get(self, name: str, default: Any = None) -> Any:
        """Return an argument of the call."""
        value = self.arguments.get(name)
        return default if value is None else value

    @property
    def here(self) -> Place | None:
        """The line of the call."""
        return self.places.get(self.call)

    @property
    def compiled(self) -> Place | None:
        """The line of `compile`, else that of the call."""
        return self.places.get("compile", self.here)

    @property
    def backend(self) -> str:
        """Keras' backend."""
        return str(keras.backend.backend())

    # -- the model ----------------------------------------------------------------------------------

    @cached_property
    def losses(self) -> list[Any]:
        """The compiled losses, as objects; functions stay functions."""
        return [
            keras.losses.get(each) if isinstance(each, str) else each
            for each in keras.tree.flatten(self.model.loss)
            if each is not None
        ]

    @property
    def loss(self) -> Any:
        """The loss of the only output; None with several outputs, or with none."""
        return self.losses[0] if len(self.losses) == 1 and len(self.outputs) <= 1 else None

    @property
    def outputs(self) -> list[Any]:
        """The symbolic outputs of a functional model; empty for others."""
        return list(getattr(self.model, "outputs", None) or ())

    @cached_property
    def metrics(self) -> list[Any]:
        """The compiled metrics without weights, as passed: names, functions and objects."""
        return list(keras.tree.flatten(private.compiled_metrics(self.model)[0]))

    @cached_property
    def weighted_metrics(self) -> list[Any]:
        """The compiled weighted metrics, as passed."""
        return list(keras.tree.flatten(private.compiled_metrics(self.model)[1]))

    @cached_property
    def step_methods(self) -> dict[str, Code]:
        """The user's methods of the model that take part in a step, by name."""
        return {name: code for name, code in methods_of(self.model).items() if name in _STEPS}

    @cached_property
    def step_code(self) -> list[Code]:
        """All code of the user that runs within a step: of the model, its layers and its losses."""
        found = list(self.step_methods.values())
        for part in [*self.parts, *self.losses]:
            found += [code for name, code in methods_of(part).items() if name in ("call", "build")]
        return found

    @cached_property
    def parts(self) -> list[Any]:
        """All layers of the model, and those within them."""
        found = [*private.leaf_layers(self.model)]
        waiting = list(self.model.layers)
        while waiting:
            layer = waiting.pop()
            found.append(layer)
            waiting += getattr(layer, "layers", None) or []
        return list({id(each): each for each in found}.values())

    @property
    def has_user_code(self) -> bool:
        """Whether code of the user runs within a step."""
        return any(is_user_defined(type(each)) for each in [self.model, *self.parts, *self.losses])

    # -- callbacks ----------------------------------------------------------------------------------

    @property
    def callbacks(self) -> list[Any]:
        """The callbacks, without None."""
        given = self.get("callbacks", [])
        given = getattr(given, "callbacks", given)  # a CallbackList
        return [each for each in (given if isinstance(given, Sequence) else [given]) if each is not None]

    def callbacks_of(self, *kinds: type) -> list[Any]:
        """Return the callbacks of these classes."""
        return [each for each in self.callbacks if isinstance(each, kinds)]

    # -- the data -----------------------------------------------------------------------------------

    @property
    def x(self) -> Any:
        """The data: arrays, or a data set."""
        return self.arguments.get("x")

    @cached_property
    def kind(self) -> Kind | None:
        """The kind of the data."""
        return kind_of(self.x)

    @property
    def batch_size(self) -> int:
        """Batch size of arrays."""
        return int(self.get("batch_size", 32))

    @cached_property
    def samples(self) -> int | None:
        """Number of samples of arrays, without those of `validation_split`; None for data sets."""
        if self.kind != "arrays":
            return None
        total = len(keras.tree.flatten(self.x)[0])
        return total - int(total * float(self.get("validation_split", 0.0)))

    @cached_property
    def batches(self) -> list[Batch]:
        """The first batches in their stored order, and (of arrays) the last one; empty if they can't be read."""
        if self.kind == "arrays":
            size, total = self.batch_size, self.samples or 0
            starts = list(range(0, total, size))
            starts = starts if len(starts) <= _SHOWN else [*starts[: _SHOWN - 1], starts[-1]]
            trees = [self.arguments.get(name) for name in ("x", "y", "sample_weight")]
            return [Batch(*(rows(tree, at, min(at + size, total)) for tree in trees)) for at in starts]
        if self.first is not None:
            return [self.first]
        return read(self.x, self.kind, _SHOWN)

    @cached_property
    def batch(self) -> Batch | None:
        """The first batch; None if it can't be read."""
        return self.batches[0] if self.batches else None

    @cached_property
    def labels(self) -> NDArray[Any] | None:
        """The labels of all samples of arrays, else of the first batches; None without, or with several outputs."""
        if self.kind == "arrays":
            y = first_rows(self.arguments.get("y"), self.samples or 0)
            return y if isinstance(y, np.ndarray) else None
        found = [labels for batch in self.batches if (labels := batch.labels) is not None]
        same = len(found) == len(self.batches) > 0 and len({each.shape[1:] for each in found}) == 1
        return np.concatenate(found) if same else None

    @cached_property
    def classes(self) -> NDArray[np.int64] | None:
        """The class index of each of `labels`; None if a sample does not have exactly one class."""
        y = self.labels
        if y is None or y.dtype.kind not in "iufb" or not len(y):
            return None
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim == 2 and _one_hot(y):
            return np.asarray(y.argmax(axis=1), dtype=np.int64)
        if y.ndim == 1 and np.isfinite(y).all() and (y == np.round(y)).all() and self._classifies:
            return y.astype(np.int64)
        return None

    @property
    def _classifies(self) -> bool:
        """Whether the loss is one for classification."""
        name = type(self.loss).__name__ + str(getattr(self.loss, "__name__", ""))
        return "entropy" in name.lower()

    @cached_property
    def class_weight(self) -> dict[int, float]:
        """The `class_weight` argument, as far as it is a table of numbers."""
        given = self.get("class_weight", {})
        items = given.items() if isinstance(given, Mapping) else ()
        return {int(key): float(value) for key, value in items if isinstance(key, int | float | np.number)}

    def weights(self, batch: Batch) -> NDArray[Any] | None:
        """Return the weights of a batch as Keras applies them; None if there are none."""
        if not self.class_weight or batch.labels is None:
            return batch.weights
        y = batch.labels
        if y.ndim > 1:
            y = y.argmax(axis=-1) if y.shape[-1] != 1 else y[..., 0]
        if y.ndim != 1:
            return None
        return np.array([self.class_weight.get(round(float(each)), 1.0) for each in y], dtype=np.float32)

    # -- computing ----------------------------------------------------------------------------------

    @cached_property
    def runnable(self) -> Any:
        """A model to predict with: the user's own if it is built, a copy with fresh weights if it can be copied."""
        if self.model.built:
            return self.model
        if type(self.model) is not keras.Sequential:
            return None
        with generators_restored():
            return keras.models.clone_model(self.model)

    def predict(self, x: Any) -> NDArray[Any] | None:
        """Return the outputs for one batch, computed without training; None if that fails or has several outputs."""
        if self.runnable is None:
            return None
        try:
            with generators_restored():
                result = self.runnable(keras.tree.map_structure(keras.ops.convert_to_tensor, x), training=False)
            return None if keras.tree.is_nested(result) else np.asarray(keras.ops.convert_to_numpy(result))
        except Exception:  # the user's code may raise anything; findings then have no numbers
            return None

    def value(self, loss: Any, batch: Batch, predicted: NDArray[Any], weights: Any = None) -> float:
        """Return the loss of a batch."""
        value = loss(batch.y, predicted) if weights is None else loss(batch.y, predicted, sample_weight=weights)
        return float(np.mean(keras.ops.convert_to_numpy(value)))

    @cached_property
    def measured(self) -> list[tuple[Batch, NDArray[Any], Any]]:
        """(batch, outputs, weights) of each of `batches`; empty if outputs can't be computed."""
        if not isinstance(self.loss, keras.losses.Loss):
            return []
        found = [(batch, self.predict(batch.x), self.weights(batch)) for batch in self.batches if batch.y is not None]
        return [each for each in found if each[1] is not None]  # type: ignore[misc]

    def losses_where(self, holds: Callable[[Any], bool]) -> Iterator[Any]:
        """Yield the compiled losses for which a condition holds."""
        return (loss for loss in self.losses if holds(loss))


def _one_hot(y: NDArray[Any]) -> bool:
    return bool(np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all())
