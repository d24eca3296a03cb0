"""Recipes: YAML files that configure a training, validated before anything runs.

document.py    parsing of YAML into plain values with line numbers; overriding.py changes some of them
choices.py     types of keys that name a loss, sampler, ...; catalogue.py lists what can be named
recipe.py      the keys and values of a recipe; messages.py reports invalid ones
parts.py       opening and splitting the data; objects.py builds network, loss, optimizer, ...
training.py    a run; directory.py, result.py, serving.py and data_identity.py its files and checks
predicting.py  a finished run on other data; trained.py loads it, likeness.py checks that the data resemble its own
logging.py     loggers and callbacks that a recipe names
agreement.py   what the workers of a training agree on before it starts
comparing.py   several remedies, each trained with several seeds; remedies.py and suites.py list the remedies
racing.py      training within a budget of time, comparison_runs.py without; nested.py repeats a comparison in folds
out_of_fold.py probabilities by networks trained without the sample; suspects.py finds wrong labels with them
listing.py     a table of runs and comparisons

Names are imported on first use, because the backend that a recipe names must be set before Keras is imported.
"""

from typing import TYPE_CHECKING

from tailfit.lazy import lazy_attributes

if TYPE_CHECKING:
    from tailfit.recipes.comparing import compare
    from tailfit.recipes.listing import list_runs
    from tailfit.recipes.predicting import Predictions, predict
    from tailfit.recipes.recipe import Recipe, load_recipe, schema
    from tailfit.recipes.suspects import Suspects, find_suspects
    from tailfit.recipes.training import Run, evaluate_run, train

__all__ = [
    "Predictions",
    "Recipe",
    "Run",
    "Suspects",
    "compare",
    "evaluate_run",
    "find_suspects",
    "list_runs",
    "load_recipe",
    "predict",
    "schema",
    "train",
]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "Predictions": "tailfit.recipes.predicting",
        "Recipe": "tailfit.recipes.recipe",
        "Run": "tailfit.recipes.training",
        "Suspects": "tailfit.recipes.suspects",
        "compare": "tailfit.recipes.comparing",
        "evaluate_run": "tailfit.recipes.training",
        "find_suspects": "tailfit.recipes.suspects",
        "list_runs": "tailfit.recipes.listing",
        "load_recipe": "tailfit.recipes.recipe",
        "predict": "tailfit.recipes.predicting",
        "schema": "tailfit.recipes.recipe",
        "train": "tailfit.recipes.training",
    },
)
