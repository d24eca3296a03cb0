"""The file `model.keras` of a run: network and correction as one Keras model, which loads where Keras is.

What trains is more than what serves: a loss, steps, a model class with a loop of its own. Of a network of layers only
the layers are saved, as a plain `keras.Model`. Our own heads are replaced by layers of Keras that compute the same, so
that the networks a recipe can name need no tailfit to be loaded. A network of your own that holds layers of tailfit
needs `import tailfit` before it is loaded; one that is no graph of layers is saved as it is, and needs its class.

The same network gives the same bytes: layers are numbered anew, and the archive has no clock in it.
"""

import io
import json
import re
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.keras_private import without_tensorflow
from tailfit.layers import CosineDense, WithFeatures
from tailfit.storage.json_text import parsed
from tailfit.storage.writing import draft_path, write_parts
from tailfit.text import TailfitWarning
from tailfit.training.generators import seeded

__all__ = ["save_served", "served"]

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # of every file in the archive


def save_served(
    model: keras.Model, scale: NDArray[np.float64] | None, offset: NDArray[np.float64] | None, path: Path
) -> None:
    """Write a network and its correction as one Keras model; what Keras can't write is a warning.

    Args:
        model: Trained.
        scale, offset: Of each class' logit, what the correction does; None without one.
        path: The file, written whole or not at all.
    """
    draft = draft_path(path, ".keras")
    try:
        with without_tensorflow():
            served(model, scale, offset).save(draft)
        write_parts(path, [_without_clock(draft)])
    except (NotImplementedError, TypeError, ValueError) as error:
        # The network of a user may hold what Keras can't write; the weights are saved either way.
        warnings.warn(f"{path.name} was not written: {error}", TailfitWarning, stacklevel=2)
    finally:
        draft.unlink(missing_ok=True)


def served(
    model: keras.Model, scale: NDArray[np.float64] | None = None, offset: NDArray[np.float64] | None = None
) -> keras.Model:
    """A plain `keras.Model` of new layers that gives what `model` gives, corrected.

    Raises:
        ValueError: for a correction of a model that is no graph of layers.

    >>> import tailfit
    >>> inputs = keras.Input((2,), name="records")
    >>> model = tailfit.Model(inputs, CosineDense(3)(keras.layers.Dense(4)(inputs)))
    >>> [layer.name for layer in served(model).layers]
    ['records', 'dense', 'unit_normalization', 'classes']
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1 or not getattr(model, "layers", None):
        if scale is not None:
            raise ValueError("a correction can be appended to a network that is a graph of layers only")
        return model
    last, output = model.layers[-1], outputs[0]
    if isinstance(last, WithFeatures):
        output = last.input[0]
    elif isinstance(last, CosineDense):
        output = _cosines(last)
    if scale is not None and offset is not None:
        # In float32, whatever the network computes in: these digits decide.
        output = keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name="correction")(output)
    plain = keras.Model(model.inputs, output, name="served")
    try:
        return _named_anew(plain)
    except (NotImplementedError, TypeError, ValueError):
        return plain  # a layer of the user's own that can't be made again from its configuration


def _cosines(layer: CosineDense) -> Any:
    """The layer's output by layers of Keras: unit features times a kernel of unit columns."""
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    length = np.sqrt(np.square(kernel).sum(axis=0, keepdims=True))
    dense = keras.layers.Dense(layer.units, use_bias=False, dtype=layer.dtype_policy, name="classes")
    output = dense(keras.layers.UnitNormalization(dtype=layer.dtype_policy)(layer.input))
    dense.kernel.assign((kernel / np.where(length > 0, length, 1.0)).astype(np.float32))
    return output


def _named_anew(model: keras.Model) -> keras.Model:
    """The same model of new layers, named as the first of their kind in a process are."""
    counts: dict[str, int] = {}

    def name_of(layer: keras.layers.Layer) -> str:
        # Keras numbers names through in a process; names that somebody chose stay.
        kind = _snake(type(layer).__name__)
        if not re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            return str(layer.name)
        number = counts[kind] = counts.get(kind, -1) + 1
        return f"{kind}_{number}" if number else kind

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "name": name_of(layer)})

    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer))
    inputs = keras.Input(batch_shape=first.batch_shape, dtype=first.dtype, name=name_of(first))
    with seeded(0):  # dropout's, which serving does not draw from
        copy = keras.models.clone_model(model, input_tensors=[inputs], clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy


def _snake(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()


def _without_clock(archive: Path) -> bytes:
    """The archive without times, and with numbers in the place of the addresses by which Keras knows shared objects."""
    written = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            with old.open(name) as content, new.open(zipfile.ZipInfo(name, _EPOCH), "w", force_zip64=True) as copy:
                if name == "metadata.json":
                    known = parsed(content.read())
                    copy.write(json.dumps({"keras_version": known["keras_version"]}).encode())
                elif name == "config.json":
                    copy.write(json.dumps(_renumbered(parsed(content.read()), {})).encode())
                else:
                    shutil.copyfileobj(content, copy)
    return written.getvalue()


def _renumbered(config: Any, seen: dict[int, int]) -> Any:
    if isinstance(config, list):
        return [_renumbered(each, seen) for each in config]
    if not isinstance(config, dict):
        return config
    return {
        key: seen.setdefault(each, len(seen)) if key == "shared_object_id" else _renumbered(each, seen)
        for key, each in config.items()
    }
