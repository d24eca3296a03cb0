"""The network of a finished run, built from its recipe and loaded with its weights; no code is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tailfit.recipes.objects import build_network
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.result import Result, finished_claim, read_trained_arrays, restore_result
from tailfit.training import Model

__all__ = ["Trained", "load_trained"]


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished run, ready to be used on data.

    Attributes:
        recipe: The trained recipe.
        result: Class names, statistics and correction.
        model: The network with its trained weights, without the correction.
        data: Identity of the data that it was trained on.
    """

    recipe: Recipe
    result: Result
    model: Model
    data: Mapping[str, Any]


def load_trained(directory: Path, modules: Sequence[str] | Mapping[str, ModuleType] = ()) -> Trained:
    """Build the network of a finished run, and load its weights.

    Args:
        directory: Absolute path of the run's directory.
        modules: See `tailfit.recipes.train`.
    Raises:
        DataError: If the run is not finished or is damaged.
    """
    claim = finished_claim(directory, ["weights.safetensors"])
    recipe = load_recipe(claim.recipe, modules=modules, folder=claim.folder)
    result, entries = Result.read(directory)
    arrays = read_trained_arrays(directory, entries)
    trained = sum(array.size for array in arrays.values())
    model = build_network(recipe, result.input_shape, len(result.class_names), result.normalize, trained=trained)
    restore_result(model, entries, arrays)
    return Trained(recipe, result, model, claim.data)
