"""Every variable that a training changes: of the model, its optimizer and metrics, and what hangs on its attributes.

A variable is known by its group and its place in it, which the same script gives it each time; names are kept for
people, for Keras numbers layers through ("dense_3") by what else the process has made.
"""

import gc
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from types import FunctionType, MethodType, ModuleType
from typing import Any

import keras
import numpy as np

from tailfit.data import Batches, Source
from tailfit.errors import CheckpointError
from tailfit.keras_private import value_behind

__all__ = [
    "assign",
    "check_arrays",
    "checked",
    "described",
    "held",
    "restore",
    "saved_entries",
    "strangers",
    "variables_of",
]

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
    behind = {variable.path.replace("/", "_") for variable in variables.values()}
    return [
        {
            "place": place,
            "array": f"{place}.{_own_name(variable, behind)}",
            "shape": list(variable.shape),
            "dtype": keras.backend.standardize_dtype(variable.dtype),
        }
        for place, variable in variables.items()
    ]


def _own_name(variable: Any, behind: Set[str]) -> str:
    """A variable's name without those that Keras numbers through in a process: the same run has the same files.

    Args:
        behind: The paths of the variables after which an optimizer may have named its own.
    """
    name = str(variable.name)
    of = max((path for path in behind if name.startswith(f"{path}_")), key=len, default="")
    return re.sub(r"^(\w*variable)_\d+$", r"\1", name.removeprefix(of).lstrip("_"))


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


def check_arrays(entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> None:
    """Hold the entries of variables against their arrays.

    Raises:
        CheckpointError: an array is missing, of another shape, or that of another variable.
    """
    for entry in entries:
        place, name = entry["place"], entry["array"]
        value = arrays.get(name)
        if value is None or not name.startswith(f"{place}."):
            missing = "" if value is not None else ", which is not there"
            raise _other_array(f"variable {place}: the array {name!r}{missing}")
        if list(value.shape) != entry["shape"]:
            raise _other_array(f"variable {place} of shape {tuple(entry['shape'])}: an array of shape {value.shape}")
    if len({entry["place"] for entry in entries}) < len(entries):
        raise _other_array("two entries of one variable")


def checked(variables: Variables, entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> Variables:
    """The values that were saved of the variables, by place; nothing is changed.

    Raises:
        CheckpointError: the variables are others than those, or the arrays are not what the entries say.
    """
    check_arrays(entries, arrays)
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
    return {place: _value_of(place, variable, arrays[saved[place]["array"]]) for place, variable in variables.items()}


def assign(variables: Variables, values: Mapping[str, Any]) -> None:
    """Give the variables values, by place."""
    for place, variable in variables.items():
        variable.assign(values[place])


def restore(variables: Variables, entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> None:
    """Give the variables the values that were saved of them.

    Raises:
        CheckpointError: as `checked`; nothing was changed then.
    """
    assign(variables, checked(variables, entries, arrays))


def _value_of(place: str, variable: Any, value: Any) -> Any:
    """The array that was saved of a variable, in the variable's type."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    kinds = [np.issubdtype(value.dtype, np.integer), value.dtype == np.bool_]
    if kinds != ["int" in dtype, dtype == "bool"]:
        raise _other_array(f"variable {place} of type {dtype}: an array of type {value.dtype}")
    return value.astype(dtype, copy=False)


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
