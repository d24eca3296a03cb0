"""The identity of a training: its model, data, sampler and so on, as JSON."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import keras
import numpy as np

from tailfit.augment import Augmentation, Chain
from tailfit.data import Batches, Source
from tailfit.data.records.trees import leaves
from tailfit.keras_private import leaf_layers, without_tensorflow
from tailfit.samplers import Sampler
from tailfit.storage.json_text import parsed

__all__ = ["digest", "identity_of"]

_MAX_SAMPLED: Final = 1 << 16  # positions of a larger source that are compared


@without_tensorflow()
def identity_of(model: keras.Model, batches: Batches, validation: Any, callbacks: Sequence[str]) -> dict[str, Any]:
    """Return the identity of a run as JSON: a value for each key of `tailfit.resume.identity.MEANING`."""
    return {
        "backend": keras.backend.backend(),
        "model": _model(model),
        "compile": _short(_compiled(model)),
        "steps_per_execution": model.steps_per_execution,
        **_batches(batches),
        "validation": _validation(validation),
        "callbacks": list(callbacks),
    }


def _model(model: keras.Model) -> dict[str, Any]:
    layers = []
    for layer in leaf_layers(model):
        try:
            config = _without_names(layer.get_config())
        except NotImplementedError:  # a user's layer without get_config: only its class and variables are compared
            config = None
        layers.append([type(layer).__name__, config])
    return {
        "class": type(model).__name__,
        "layers": len(layers),
        "parameters": int(sum(np.prod(variable.shape) for variable in model.trainable_variables)),
        "sha256": _hash([layers, [list(variable.shape) for variable in model.variables]]),
    }


def _compiled(model: keras.Model) -> Any:
    try:
        return _without_names(model.get_compile_config())
    except (NotImplementedError, TypeError, ValueError):
        return None  # a part of it has no configuration


def _batches(batches: Batches) -> dict[str, Any]:
    weights = batches.weights_at(0)
    return {
        "data": _source(batches.source),
        "batch_size": batches.batch_size,
        "sampler": _sampler(batches.sampler),
        "seed": batches.seed,
        "class_weight": None if weights is None else _weights(batches, weights),
        "transform": None if batches.transform is None else _transform(batches.transform),
        "one_hot": batches.one_hot,
        "drop_remainder": batches.drop_remainder,
        "shard": "auto" if batches.given_shard == "auto" else list(batches.shard),
    }


def _transform(transform: Any) -> Any:
    if isinstance(transform, Chain):
        return [_transform(each) for each in transform.transforms]
    if isinstance(transform, Augmentation):
        return repr(transform)
    return getattr(transform, "__qualname__", type(transform).__name__)


def _weights(batches: Batches, weights: Any) -> str:
    numbers, schedule = digest(weights[_positions(len(weights))]), batches.class_weight_schedule
    return numbers if schedule is None else f"{numbers}, {schedule!r}"


def _sampler(sampler: Sampler) -> str:
    """Return the sampler's `repr` with digests of arrays, because the `repr` of a long array omits its middle."""
    given = ((field.name, getattr(sampler, field.name)) for field in fields(sampler))
    texts = (f"{k}={digest(v) if isinstance(v, np.ndarray) else repr(v)}" for k, v in given)
    return f"{type(sampler).__name__}({', '.join(texts)})"


def _source(source: Source) -> dict[str, Any]:
    positions = _positions(len(source))
    ids = source.ids
    records = [array for _, array in leaves(source.read(np.unique(positions[[0, len(positions) // 2, -1]])))]
    return {
        "samples": len(source),
        "classes": len(source.class_names),
        "class_names": _hash(list(source.class_names)),
        "ids": _hash([ids[int(position)] for position in positions]),
        "labels": None if source.labels is None else digest(source.labels[positions]),
        "records": _hash([[str(array.dtype), list(array.shape[1:]), digest(array)] for array in records]),
    }


def _validation(data: Any) -> Any:
    if data is None:
        return None
    if isinstance(data, Batches):
        return _short(_batches(data))
    return [
        [list(np.shape(part)), digest(np.asarray(part)[_positions(len(part))])]
        if isinstance(part, np.ndarray) and part.ndim and len(part)
        else type(part).__name__
        for part in keras.tree.flatten(data)
    ]


def _positions(count: int) -> Any:
    """Return all positions below `count`, or `_MAX_SAMPLED` of them, spread evenly."""
    if count <= _MAX_SAMPLED:
        return np.arange(count)
    return np.linspace(0, count - 1, _MAX_SAMPLED).astype(np.int64)


def digest(array: Any) -> str:
    """Return a digest of the dtype, shape and values of an array."""
    content = np.ascontiguousarray(array)
    digested = hashlib.sha256(f"{content.dtype.str} {content.shape}".encode())
    digested.update(content.reshape(-1).view(np.uint8).data)
    return digested.hexdigest()[:16]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> Any:
    """Convert a value to JSON, or to its hash if it is long, such as a million class counts."""
    text = json.dumps(value, default=str, sort_keys=True)
    return parsed(text) if len(text) <= 1 << 14 else {"sha256": _hash(value)}


def _without_names(config: Any) -> Any:
    """Remove names from a configuration, because Keras numbers them across the process."""
    if isinstance(config, Mapping):
        return {
            str(key): _without_names(value) for key, value in config.items() if key not in ("name", "shared_object_id")
        }
    if isinstance(config, list | tuple):
        return [_without_names(value) for value in config]
    return config
