"""Recipes: one YAML file that decides a training, checked before anything runs, and trained in a directory of its own.

document.py    the text: YAML to plain values with their lines
choices.py     places where one of many things can be named; catalogue.py lists them
recipe.py      the document's keys and values; messages.py tells what is wrong with them
parts.py       the data, divided; objects.py what trains
training.py    a run; directory.py its files; result.py what is left of it
comparing.py   several remedies, each trained with several seeds

Names are imported on first use: a recipe is read before Keras is imported, for it may name the backend.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailfit.recipes.comparing import compare
    from tailfit.recipes.recipe import Recipe, load_recipe, schema
    from tailfit.recipes.training import Run, evaluate_run, train

__all__ = ["Recipe", "Run", "compare", "evaluate_run", "load_recipe", "schema", "train"]

_HOME = {
    "Recipe": "recipe",
    "Run": "training",
    "compare": "comparing",
    "evaluate_run": "training",
    "load_recipe": "recipe",
    "schema": "recipe",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"tailfit.recipes.{_HOME[name]}"), name)
    raise AttributeError(f"module 'tailfit.recipes' has no attribute {name!r}")
