"""The file `model.keras` of a run: network and correction as one Keras model for serving.

Serving needs less than training: no loss, steps, or model class with its own training loop. A functional network is
therefore saved as a plain `keras.Model` of its layers. tailfit's heads are replaced by equivalent layers of Keras, so
that the networks that a recipe can name load without tailfit. A user's network that contains layers of tailfit needs
`import tailfit` before it is loaded; a subclassed model is saved as it is, and needs its class.

The same network gives the same bytes: layers are renumbered, and the archive contains no times.
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
from tailfit.layers import CosineDense, Experts, WithFeatures
from tailfit.recipes.ensembles import averaged, is_member
from tailfit.storage.json_text import parsed
from tailfit.storage.writing import draft_path, write_parts
from tailfit.text import TailfitWarning
from tailfit.training.generators import seeded

__all__ = ["save_serving_model", "serving_model", "without_times"]

_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can store


def save_serving_model(
    model: keras.Model, scale: NDArray[np.float64] | None, offset: NDArray[np.float64] | None, path: Path
) -> None:
    """Write a network and its correction as one Keras model; if Keras can't save the network, issue a warning.

    Args:
        model: Trained network.
        scale, offset: The correction as a factor and a term for each class' logit; None without a correction.
        path: Path of the file, which is replaced atomically.
    """
    draft = draft_path(path, ".keras")
    try:
        with without_tensorflow():
            serving_model(model, scale, offset).save(draft)
        write_parts(path, [without_times(draft)])
    except OSError:  # a full disk, for example: the run can be finished later
        raise
    except Exception as error:
        # A user's network may contain something that Keras can't save; the weights are saved in any case.
        warnings.warn(f"{path.name} was not written: {type(error).__name__}: {error}", TailfitWarning, stacklevel=2)
    finally:
        draft.unlink(missing_ok=True)


def serving_model(
    model: keras.Model, scale: NDArray[np.float64] | None = None, offset: NDArray[np.float64] | None = None
) -> keras.Model:
    """Build a plain `keras.Model` of new layers that computes the corrected outputs of `model`.

    Raises:
        ValueError: If there is a correction and the model is not functional.

    >>> import tailfit
    >>> inputs = keras.Input((2,), name="records")
    >>> model = tailfit.Model(inputs, CosineDense(3)(keras.layers.Dense(4)(inputs)))
    >>> [layer.name for layer in serving_model(model).layers]
    ['records', 'dense', 'unit_normalization', 'classes']
    """
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1 or not getattr(model, "layers", None):
        if scale is not None:
            raise ValueError("a correction can only be appended to a functional model")
        return model
    last, output = model.layers[-1], outputs[0]
    members = [layer for layer in model.layers if is_member(layer)]
    if members:
        served = averaged([serving_model(member) for member in members])
        model, output = served, served.outputs[0]
    elif isinstance(last, WithFeatures):
        output = last.input[0]
    elif isinstance(last, CosineDense):
        output = _as_keras_layers(last)
    elif isinstance(last, Experts):
        output = _as_dense_layers(last)
    if scale is not None and offset is not None:
        # In float32 even for a network in lower precision, because small differences decide between classes.
        output = keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name="correction")(output)
    plain = keras.Model(model.inputs, output, name="served")
    try:
        return _copy_with_fresh_names(plain)
    except Exception:
        return plain  # a user's layer that can't be recreated from its configuration


def _as_keras_layers(layer: CosineDense) -> Any:
    """Return the layer's output, computed by layers of Keras: unit features times a kernel with unit columns."""
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64)
    length = np.sqrt(np.square(kernel).sum(axis=0, keepdims=True))
    dense = keras.layers.Dense(layer.units, use_bias=False, dtype=layer.dtype_policy, name="classes")
    output = dense(keras.layers.UnitNormalization(dtype=layer.dtype_policy)(layer.input))
    dense.kernel.assign((kernel / np.where(length > 0, length, 1.0)).astype(np.float32))
    return output


def _as_dense_layers(layer: Experts) -> Any:
    """Return the mean scores of experts, computed by two dense layers: all hidden layers side by side, and a mean."""
    inner, outer = layer.inner, layer.outer
    policy = layer.dtype_policy
    hidden = keras.layers.Dense(sum(each.units for each in inner), "relu", dtype=policy, name="experts")
    scores = keras.layers.Dense(layer.units, dtype=policy, name="classes")
    output = scores(hidden(layer.input))
    values = [[keras.ops.convert_to_numpy(each) for each in dense.weights] for dense in (*inner, *outer)]
    of_inner, of_outer = values[: len(inner)], values[len(inner) :]
    hidden.set_weights([np.concatenate([each[place] for each in of_inner], axis=-1) for place in (0, 1)])
    kernel = np.concatenate([each[0] for each in of_outer]) / len(outer)
    scores.set_weights([kernel, np.mean([each[1] for each in of_outer], axis=0)])
    return output


def _copy_with_fresh_names(model: keras.Model) -> keras.Model:
    """Copy a model to new layers whose default names are numbered from the start."""
    counts: dict[str, int] = {}

    def name_of(layer: keras.layers.Layer) -> str:
        # Keras numbers default names across the process; names that the user chose are kept.
        kind = _snake(type(layer).__name__)
        if not re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            return str(layer.name)
        number = counts[kind] = counts.get(kind, -1) + 1
        return f"{kind}_{number}" if number else kind

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "name": name_of(layer)})

    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer))
    inputs = keras.Input(batch_shape=first.batch_shape, dtype=first.dtype, name=name_of(first))
    with seeded(0):  # fixes the saved seeds of dropout layers, which serving does not use
        copy = keras.models.clone_model(model, input_tensors=[inputs], clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy


def _snake(name: str) -> str:
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()


def without_times(archive: Path) -> bytes:
    """Return the archive without times, and with shared objects numbered in order instead of by memory address."""
    written = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            with old.open(name) as content, new.open(zipfile.ZipInfo(name, _ZIP_TIME), "w", force_zip64=True) as copy:
                if name == "metadata.json":
                    metadata = parsed(content.read())
                    copy.write(json.dumps({"keras_version": metadata["keras_version"]}).encode())
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
