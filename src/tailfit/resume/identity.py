"""What makes a run the run it is, in few words a key: two that differ in one of them can't go on from each other."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import keras
import numpy as np

from tailfit.data import Batches, Source
from tailfit.data.records.trees import leaves
from tailfit.keras_private import leaf_layers, without_tensorflow
from tailfit.samplers import Sampler
from tailfit.storage.json_text import parsed

__all__ = ["MEANING", "differences", "identity_of"]

# What may be allowed to differ, and what that means.
MEANING: Final[dict[str, str]] = {
    "backend": "weights, optimizer and metrics are kept; random numbers (dropout, augmentation) and rounding differ",
    "batch_size": "the epoch goes on at the same sample, rounded down to a batch; the losses are of other batches",
    "callbacks": "those that were there before go on, others begin anew",
    "class_weight": "samples weigh what they weigh now",
    "compile": "loss, metrics and steps are those of now; the saved optimizer state must fit",
    "data": "other samples: some of this epoch may come twice, or not at all",
    "drop_remainder": "the epoch's length differs",
    "model": "layers may differ as long as every variable keeps its shape",
    "one_hot": "labels have another form",
    "sampler": "another order: some samples of this epoch may come twice, or not at all",
    "seed": "another order: some samples of this epoch may come twice, or not at all",
    "shard": "another part of each batch is read",
    "steps_per_execution": "the numbers stay the same",
    "transform": "batches are changed otherwise",
    "validation": "the monitored numbers before and after can't be compared",
}
_LOOKED_AT: Final = 1 << 16  # positions of a source, where it has more


@without_tensorflow()
def identity_of(model: keras.Model, batches: Batches, validation: Any, callbacks: Sequence[str]) -> dict[str, Any]:
    """Everything in `MEANING` for a run, as JSON."""
    return {
        "backend": keras.backend.backend(),
        "model": _model(model),
        "compile": _short(_compiled(model)),
        "steps_per_execution": model.steps_per_execution,
        **_batches(batches),
        "validation": _validation(validation),
        "callbacks": list(callbacks),
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What differs: by key, what was saved and what is now."""
    return {
        key: f"{_said(saved.get(key))} when saved, {_said(now.get(key))} now"
        for key in MEANING
        if saved.get(key) != now.get(key)
    }


def _said(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 160 else f"{text[:120]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _model(model: keras.Model) -> dict[str, Any]:
    layers = []
    for layer in leaf_layers(model):
        try:
            config = _nameless(layer.get_config())
        except NotImplementedError:  # a layer of the user's own: its class and its variables must do
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
        return _nameless(model.get_compile_config())
    except (NotImplementedError, TypeError, ValueError):
        return None  # something in it can't say what it is


def _batches(batches: Batches) -> dict[str, Any]:
    weights = batches.weights_at(0)
    transform = batches.transform
    return {
        "data": _source(batches.source),
        "batch_size": batches.batch_size,
        "sampler": _sampler(batches.sampler),
        "seed": batches.seed,
        "class_weight": None if weights is None else _weights(batches, weights),
        "transform": None if transform is None else getattr(transform, "__qualname__", type(transform).__name__),
        "one_hot": batches.one_hot,
        "drop_remainder": batches.drop_remainder,
        "shard": list(batches.shard),
    }


def _weights(batches: Batches, weights: Any) -> str:
    digest, schedule = _digest(weights[_positions(len(weights))]), batches.class_weight_schedule
    return digest if schedule is None else f"{digest}, {schedule!r}"


def _sampler(sampler: Sampler) -> str:
    """As its `repr` is, but arrays by their digest: a `repr` leaves out what is in the middle of a long one."""
    given = ((field.name, getattr(sampler, field.name)) for field in fields(sampler))
    told = (f"{k}={_digest(v) if isinstance(v, np.ndarray) else repr(v)}" for k, v in given)
    return f"{type(sampler).__name__}({', '.join(told)})"


def _source(source: Source) -> dict[str, Any]:
    positions = _positions(len(source))
    ids = source.ids
    records = [array for _, array in leaves(source.read(np.unique(positions[[0, len(positions) // 2, -1]])))]
    return {
        "samples": len(source),
        "classes": len(source.class_names),
        "class_names": _hash(list(source.class_names)),
        "ids": _hash([ids[int(position)] for position in positions]),
        "labels": None if source.labels is None else _digest(source.labels[positions]),
        "records": _hash([[str(array.dtype), list(array.shape[1:]), _digest(array)] for array in records]),
    }


def _validation(data: Any) -> Any:
    if data is None:
        return None
    if isinstance(data, Batches):
        return _short(_batches(data))
    return [
        [list(np.shape(part)), _digest(np.asarray(part)[_positions(len(part))])]
        if isinstance(part, np.ndarray) and part.ndim and len(part)
        else type(part).__name__
        for part in keras.tree.flatten(data)
    ]


def _positions(count: int) -> Any:
    """All of them, or as many as are looked at, spread evenly."""
    if count <= _LOOKED_AT:
        return np.arange(count)
    return np.linspace(0, count - 1, _LOOKED_AT).astype(np.int64)


def _digest(array: Any) -> str:
    content = np.ascontiguousarray(array)
    known = hashlib.sha256(f"{content.dtype.str} {content.shape}".encode())
    known.update(content.reshape(-1).view(np.uint8).data)
    return known.hexdigest()[:16]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _short(value: Any) -> Any:
    """As JSON: a run's own file need not hold a million class counts."""
    text = json.dumps(value, default=str, sort_keys=True)
    return parsed(text) if len(text) <= 1 << 14 else {"sha256": _hash(value)}


def _nameless(config: Any) -> Any:
    """Without the names that Keras numbers through in a process."""
    if isinstance(config, Mapping):
        return {str(key): _nameless(value) for key, value in config.items() if key not in ("name", "shared_object_id")}
    if isinstance(config, list | tuple):
        return [_nameless(value) for value in config]
    return config
