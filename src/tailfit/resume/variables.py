"""All variables that training changes: those of the model, its optimizer and metrics, and of its attributes.

A variable is identified by its group and its index in the group, which are the same each time a script runs. Names are
stored only for human readers: Keras numbers layers ("dense_3") by what else the process has created.
"""

import gc
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

import keras
import numpy as np

from tailfit.errors import CheckpointError
from tailfit.keras_private import known_global_seed, value_behind
from tailfit.training.reachable import reachable

__all__ = [
    "assign",
    "check_arrays",
    "checked",
    "described",
    "restore",
    "saved_entries",
    "snapshot",
    "untracked",
    "variables_of",
]

Variables = dict[str, Any]


def variables_of(model: keras.Model, others: Mapping[str, Any]) -> Variables:
    """Return the variables as `"group.0017": variable`, in an order that depends on the model's structure alone.

    Args:
        model: Compiled and built model.
        others: Further objects to search, such as the attributes of callbacks, by name.
    """
    groups: dict[str, list[Any]] = {"model": list(model.variables), "optimizer": [], "metrics": [], "other": []}
    if model.optimizer is not None:
        groups["optimizer"] = list(model.optimizer.variables)
    groups["metrics"] = list(model.metrics_variables)
    seen: set[int] = set()
    groups["other"] = list(reachable({"model": vars(model), **others}, seen))
    found: Variables = {}
    numbered: set[int] = set()
    for group, variables in groups.items():
        fresh = {id(variable): variable for variable in variables if id(variable) not in numbered}
        numbered |= fresh.keys()
        found.update((f"{group}.{index:04d}", variable) for index, variable in enumerate(fresh.values()))
    return found


def described(variables: Variables) -> list[dict[str, Any]]:
    """Return the entry of each variable in a checkpoint's document: place, name of its array, shape, dtype."""
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
    """Return a variable's name without the parts that Keras numbers, so that the same run writes the same files.

    Args:
        variable: The variable.
        behind: Paths of the variables after which an optimizer may have named its own.
    """
    name = str(variable.name)
    of = max((path for path in behind if name.startswith(f"{path}_")), key=len, default="")
    return re.sub(r"^(\w*variable)_\d+$", r"\1", name.removeprefix(of).lstrip("_"))


def snapshot(variable: Any) -> Any:
    """Return the current value in a form that later steps do not change; `numpy.asarray` converts it for saving.

    On JAX this is the value itself, without a copy: arrays are immutable, and a step that donates its buffers copies
    those that are still referenced elsewhere.
    """
    if keras.backend.backend() == "jax":
        return variable.value
    return np.array(keras.ops.convert_to_numpy(variable.value))


def saved_entries(given: Any) -> list[dict[str, Any]]:
    """Check the types of the entries of variables that were read from a file.

    Raises:
        CheckpointError: If they are not a list of entries as `described` returns.

    >>> saved_entries([{"place": "0000", "array": "0000.kernel", "shape": [3]}])[0]["place"]
    '0000'
    """
    kinds = {"place": str, "array": str, "shape": list}
    for entry in given if isinstance(given, list) else [given]:
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), kind) for key, kind in kinds.items()):
            raise CheckpointError(
                f"the entry of a variable {entry!r:.80}",
                expected="an entry with place, array and shape",
                fix="restore the original file",
            )
    return list(given)


def check_arrays(entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> None:
    """Check that the entries of variables match their arrays.

    Raises:
        CheckpointError: If an array is missing, has a different shape, or belongs to a different variable.
    """
    for entry in entries:
        place, name = entry["place"], entry["array"]
        value = arrays.get(name)
        if value is None or not name.startswith(f"{place}."):
            missing = "" if value is not None else ", which is missing"
            raise _wrong_array(f"variable {place}: the array {name!r}{missing}")
        if list(value.shape) != entry["shape"]:
            raise _wrong_array(f"variable {place} of shape {tuple(entry['shape'])}: an array of shape {value.shape}")
    if len({entry["place"] for entry in entries}) < len(entries):
        raise _wrong_array("two entries of one variable")


def checked(variables: Variables, entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> Variables:
    """Return the saved values of the variables by place, without assigning them.

    Raises:
        CheckpointError: If the model has different variables, or the arrays do not match the entries.
    """
    check_arrays(entries, arrays)
    saved = {entry["place"]: entry for entry in entries}
    for place in [*saved, *(place for place in variables if place not in saved)]:
        variable, entry = variables.get(place), saved.get(place)
        now = "no such variable" if variable is None else f"shape {tuple(variable.shape)}"
        then = "no such variable" if entry is None else f"{entry['array']} of shape {tuple(entry['shape'])}"
        if variable is None or entry is None or list(variable.shape) != list(entry["shape"]):
            raise CheckpointError(
                f"variable {place}: saved {then}, in this run {now}",
                expected="the same variables as in the saved run",
                fix="build and compile the model as in the saved run, or use a different directory for this run",
            )
    return {place: _value_of(place, variable, arrays[saved[place]["array"]]) for place, variable in variables.items()}


def assign(variables: Variables, values: Mapping[str, Any]) -> None:
    """Assign values to the variables, by place."""
    for place, variable in variables.items():
        variable.assign(values[place])


def restore(variables: Variables, entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, Any]) -> None:
    """Check the saved values of the variables and assign them.

    Raises:
        CheckpointError: See `checked`; no variable has been changed then.
    """
    assign(variables, checked(variables, entries, arrays))


def _value_of(place: str, variable: Any, value: Any) -> Any:
    """Convert a saved array to the dtype of its variable."""
    dtype = keras.backend.standardize_dtype(variable.dtype)
    kinds = [np.issubdtype(value.dtype, np.integer), value.dtype == np.bool_]
    if kinds != ["int" in dtype, dtype == "bool"]:
        raise _wrong_array(f"variable {place} of type {dtype}: an array of type {value.dtype}")
    return value.astype(dtype, copy=False)


def _wrong_array(received: str) -> CheckpointError:
    return CheckpointError(
        received,
        expected="the array that was saved for the variable",
        fix="restore the original files, or delete them and train again",
    )


def untracked(known: Variables) -> list[Any]:
    """Return all variables of this process that are not in `known` and have a value.

    Without the state of Keras' global seed generator, which is saved with those of all global generators.
    """
    ids = {id(variable) for variable in known.values()}
    if (shared := known_global_seed()) is not None:
        ids.add(id(shared.state))
    return [each for each in _all_variables() if id(each) not in ids and value_behind(each) is not None]


def _all_variables() -> list[Any]:
    """Return all variables that the garbage collector tracks: every instance refers to its class.

    Nothing simpler finds a variable that a user's step changes in a closure: Keras keeps no registry of variables.
    `gc.get_objects()` would also briefly reference tuples that other threads are building, which raises SystemError
    there. Guarded by `test_the_search_for_variables_does_not_disturb_other_threads`.
    """
    kinds = [keras.Variable]
    for kind in kinds:  # the list grows in the loop
        kinds += [each for each in kind.__subclasses__() if each not in kinds]
    # `type` instead of isinstance, which would access `__class__` and so trigger the imports of lazy modules.
    return [each for each in gc.get_referrers(*kinds) if type(each) in kinds]
