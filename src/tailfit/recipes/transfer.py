"""Recipes and settings as JSON, for the processes that train them. The receiver validates them like any recipe."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np

from tailfit.errors import ArgumentError, CheckpointError
from tailfit.recipes.document import Document
from tailfit.recipes.modules import import_modules
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.training.backends import engine

__all__ = [
    "apply_keras_settings",
    "described_modules",
    "described_recipe",
    "keras_settings",
    "modules_of",
    "recipe_of",
]


def described_recipe(recipe: Recipe) -> dict[str, Any]:
    """Describe a recipe as JSON, with the names and lines that its messages contain.

    Raises:
        ArgumentError: If it was given as Python objects that have no equivalent in YAML.
    """
    document = recipe.document
    return {
        "value": _packed(document.value),
        "name": document.name,
        "lines": [[list(place), line] for place, line in document.lines.items()],
        "folder": str(recipe.folder),
        "changed": {"seed": recipe.seed, "name": recipe.name, **({"compare": None} if recipe.compare is None else {})},
        "plain": recipe.plain(),
    }


def recipe_of(described: Mapping[str, Any], modules: Mapping[str, ModuleType]) -> Recipe:
    """Load a recipe that another process has described.

    Args:
        described: Output of `described_recipe`.
        modules: The user's modules by the names that the recipe uses.
    Raises:
        CheckpointError: If the recipe is not the same here.
    """
    lines = {tuple(place): line for place, line in described["lines"]}
    document = Document(_unpacked(described["value"]), described["name"], Path(described["folder"]), lines)
    loaded = load_recipe(document, modules=modules, folder=described["folder"]).model_copy(update=described["changed"])
    if loaded.plain() != described["plain"]:
        raise CheckpointError(
            "a recipe that a worker process reads differently",
            expected="the same modules and version of tailfit in all processes",
            fix="use jobs=1, or make the same modules importable in the workers",
        )
    return loaded


def described_modules(modules: Mapping[str, ModuleType]) -> list[list[str]]:
    """Describe the user's modules for `modules_of`: the name that recipes use, and the name or path to import.

    Raises:
        ArgumentError: If a module is not in a file.
    """
    found = []
    for called, module in modules.items():
        file = getattr(module, "__file__", None)
        if file is None or module.__name__ == "__main__":
            raise ArgumentError(
                f"the module {called!r}, which other processes can't import",
                expected="modules in files",
                fix="move the functions into a .py file, and pass its path as a module; or use jobs=1",
            )
        path = Path(file).absolute()
        found.append([called, str(path) if path.suffix == ".py" and path.stem == called else module.__name__])
    return found


def modules_of(described: Sequence[Sequence[str]]) -> dict[str, ModuleType]:
    """Import modules that another process has described.

    Raises:
        ArgumentError: If a module can't be imported.
    """
    return {called: next(iter(import_modules([name]).values())) for called, name in described}


def keras_settings() -> dict[str, Any]:
    """Return the settings of Keras and its backend that programs can change, as JSON."""
    return {
        "backend": engine.settings(),
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        "dtype_policy": keras.dtype_policies.serialize(keras.config.dtype_policy()),
    }


def apply_keras_settings(settings: Mapping[str, Any]) -> None:
    """Apply the settings that `keras_settings` returned in another process."""
    engine.apply_settings(settings["backend"])
    keras.config.set_floatx(settings["floatx"])
    keras.config.set_epsilon(settings["epsilon"])
    keras.config.set_image_data_format(settings["image_data_format"])
    keras.config.set_dtype_policy(keras.dtype_policies.deserialize(settings["dtype_policy"]))


def _packed(value: Any) -> Any:
    """Return a value of a recipe as JSON; mappings become pairs, because their keys may be numbers."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {"pairs": [[_packed(key), _packed(each)] for key, each in value.items()]}
    if isinstance(value, list | tuple):
        return [_packed(each) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise ArgumentError(
        f"a recipe with a value of type {type(value).__name__}",
        expected="text, numbers, lists and mappings, which other processes can be sent",
        fix="replace the value, or use jobs=1",
    )


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict):
        return {_unpacked(key): _unpacked(each) for key, each in value["pairs"]}
    return [_unpacked(each) for each in value] if isinstance(value, list) else value
