"""Every variable that a training changes: of the model, its optimizer and metrics, and what hangs on its attributes.

A variable is known by its group and its place in it, which the same script gives it each time; names are kept for
people, for Keras numbers layers through ("dense_3") by what else the process has made.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np

from tailfit.data import Batches, Source
from tailfit.errors import CheckpointError
from tailfit.keras_private import value_behind

__all__ = ["described", "held", "restore", "saved_entries", "strangers", "variables_of"]

Variables = dict[str, Any]

# What has no variables of its own to offer, or leads back to everything.
_OPAQUE = (str, bytes, int, float, complex, np.ndarray, np.generic, type, FunctionType, MethodType, ModuleType)
_ELSEWHERE = (Batches, Source, keras.KerasTensor, keras.DTypePolicy, keras.initializers.Initializer)


def variables_of(model: keras.Model, others: Mapping[str, Any]) -> Variables:
    """The variables, `"group.0017": variable`, in an order that the structure alone decides.

    Args:
        model: Compiled and built.
        others: More objects to search, callbacks say, by a name for each.
    """
    groups: dict[str, list[Any]] = {"model": list(model.variables), "optimizer": [], "metrics": [], "other": []}
    if model.optimizer is not None:
        groups["optimizer"] = list(model.optimizer.variables)
    groups["metrics"] = list(model.metrics_variables)
    seen: set[int] = set()
    groups["other"] = list(_within({"model": vars(model), **others}, seen))
    found: Variables = {}
    numbered: set[int] = set()
    for group, variables in groups.items():
        fresh = {id(variable): variable for variable in variables if id(variable) not in numbered}
        numbered |= fresh.keys()
        found.update((f"{group}.{index:04d}", variable) for index, variable in enumerate(fresh.values()))
    return found


def _within(part: Any, seen: set[int], depth: int = 0) -> Iterator[Any]:
    """The variables in an object and what it holds, each object once."""
    if part is None or isinstance(part, (*_OPAQUE, *_ELSEWHERE)) or id(part) in seen or depth > 12:
        return
    seen.add(id(part))
    if isinstance(part, keras.Variable):
        yield part
    elif isinstance(part, Mapping):
        for value in list(part.values()):
            yield from _within(value, seen, depth + 1)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _within(value, seen, depth + 1)
    elif isinstance(part, keras.random.SeedGenerator):
        yield part.state
    elif not keras.ops.is_tensor(part):
        if isinstance(part, keras.Layer | keras.Metric | keras.optimizers.Optimizer):
            yield from part.variables
        # In the order of their names: attributes may be set in another order by another thread, or branch.
        attributes = getattr(part, "__dict__", {})
        for name in sorted(attributes):
            yield from _within(attributes[name], seen, depth + 1)


def described(variables: Variables) -> list[dict[str, Any]]:
    """For the checkpoint's document: what each is, and the name of its array."""
    return [
        {
            "place": place,
            "array": f"{place}.{variable.path}",
            "shape": list(variable.shape),
            "dtype": keras.backend.standardize_dtype(variable.dtype),
        }
        for place, variable in variables.items()
    ]


def held(variable: Any) -> Any:
    """The value as it is now, which no later step changes; `numpy.asarray` of it is the array to save.

    On JAX it is the value itself: arrays there never change, and a step that wants to use the memory again copies what
    somebody else holds.
    """
    if keras.backend.backend() == "jax":
        return variable.value
    return np.array(keras.ops.convert_to_numpy(variable.value))


def saved_entries(given: Any) -> list[dict[str, Any]]:
    """What a file says of the variables that were saved, if it is that.

    Raises:
        CheckpointError: for anything else.

    >>> saved_entries([{"place": "0000", "array": "0000.kernel", "shape": [3]}])[0]["place"]
    '0000'
    """
    kinds = {"place": str, "array": str, "shape": list}
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in kinds.items()):
            raise CheckpointError(
                f"a variable {entry!r:.80}", expected="its place, array and shape", fix="restore the file as it was"
            )
    return list(given)


def restore(variables: Variables, entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> None:
    """Give the variables the values that were saved of them.

    Raises:
        CheckpointError: the variables are others than those, or the arrays are not what the entries say; nothing was
            changed then.
    """
    saved = {entry["place"]: entry for entry in entries}
    for place in [*saved, *(place for place in variables if place not in saved)]:
        variable, entry = variables.get(place), saved.get(place)
        now = "no such variable" if variable is None else f"shape {tuple(variable.shape)}"
        then = "none" if entry is None else f"{entry['array']} of shape {tuple(entry['shape'])}"
        if variable is None or entry is None or list(variable.shape) != list(entry["shape"]):
            raise CheckpointError(
                f"variable {place}: saved {then}, in this run {now}",
                expected="the same variables as in the run that was saved",
                fix="build and compile the model as it was, or give this run a directory of its own",
            )
    values = {place: _value_of(place, variable, saved[place], arrays) for place, variable in variables.items()}
    if len(saved) != len(entries):
        raise _other_array("two entries of one variable")
    for place, variable in variables.items():
        value = values[place]
        variable.assign(value.astype(keras.backend.standardize_dtype(variable.dtype), copy=False))


def _value_of(place: str, variable: Any, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> Any:
    """The array that was saved of a variable, held against both."""
    name, dtype = entry["array"], keras.backend.standardize_dtype(variable.dtype)
    value = arrays.get(name)
    if value is None or not name.startswith(f"{place}."):
        raise _other_array(f"variable {place}: the array {name!r}{'' if value is not None else ', which is not there'}")
    kinds = [np.issubdtype(value.dtype, np.integer), value.dtype == np.bool_]
    if list(value.shape) != list(variable.shape) or kinds != ["int" in dtype, dtype == "bool"]:
        raise _other_array(
            f"variable {place} of shape {tuple(variable.shape)} and type {dtype}: an array of shape {value.shape} and "
            f"type {value.dtype}"
        )
    return value


def _other_array(received: str) -> CheckpointError:
    return CheckpointError(
        received, expected="the array that was saved of it", fix="restore the files, or delete them and train again"
    )


def strangers(known: Variables) -> list[Any]:
    """Every other variable in this process that is in use."""
    ids = {id(variable) for variable in known.values()}
    return [each for each in _all_variables() if id(each) not in ids and value_behind(each) is not None]


def _all_variables() -> list[Any]:
    """Every variable that the garbage collector knows of: what refers to the class of variables as to its own.

    Not out of `gc.get_objects()`: its list would hold, for a moment, what other threads are just making, and a tuple
    that is held while it is made is a SystemError in its thread.
    """
    kinds = [keras.Variable]
    for kind in kinds:  # which grows meanwhile
        kinds += [each for each in kind.__subclasses__() if each not in kinds]
    # By the type: isinstance would ask each object for its class, at which lazy modules import what they stand for.
    return [each for each in gc.get_referrers(*kinds) if type(each) in kinds]
