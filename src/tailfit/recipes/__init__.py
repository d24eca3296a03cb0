"""Recipes: one YAML file that decides a training, checked before anything runs, and trained in a directory of its own.

document.py    the text: YAML to plain values with their lines
choices.py     places where one of many things can be named; catalogue.py lists them
recipe.py      the document's keys and values; messages.py tells what is wrong with them
parts.py       the data, divided; objects.py what trains
training.py    a run; directory.py its files; result.py what is left of it
comparing.py   several remedies, each trained with several seeds

Names are imported on first use: a recipe is read before Keras is imported, for it may name the backend.
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.recipes.comparing import compare
    from tailfit.recipes.recipe import Recipe, load_recipe, schema
    from tailfit.recipes.training import Run, evaluate_run, train

__all__ = ["Recipe", "Run", "compare", "evaluate_run", "load_recipe", "schema", "train"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Recipe": "tailfit.recipes.recipe",
        "Run": "tailfit.recipes.training",
        "compare": "tailfit.recipes.comparing",
        "evaluate_run": "tailfit.recipes.training",
        "load_recipe": "tailfit.recipes.recipe",
        "schema": "tailfit.recipes.recipe",
        "train": "tailfit.recipes.training",
    },
)
