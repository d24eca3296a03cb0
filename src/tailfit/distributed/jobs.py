"""A training as JSON, for the workers that a launcher starts: described by the launcher, done by each worker."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tailfit.distributed.joining import worker_with
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.training import train_as_worker
from tailfit.recipes.transfer import (
    apply_keras_settings,
    described_modules,
    described_recipe,
    keras_settings,
    modules_of,
    recipe_of,
)

__all__ = ["described_job", "do_job"]


def described_job(recipe: Recipe, directory: Path, *, fetch: bool, verify: bool) -> dict[str, Any]:
    """Describe the training of a recipe in a directory as JSON; see `tailfit.recipes.train`.

    Raises:
        ArgumentError: If the recipe or its modules can't be sent to other processes.
    """
    return {
        "recipe": described_recipe(recipe),
        "modules": described_modules(recipe.modules),
        "keras": keras_settings(),
        "directory": str(directory),
        "fetch": fetch,
        "verify": verify,
    }


def do_job(job: Mapping[str, Any], progress: Callable[[int, Mapping[str, float]], None]) -> None:
    """Do a described training as one of its workers, whose place is in the environment.

    Args:
        job: Output of `described_job`.
        progress: Function that rank 0 calls after each epoch; see `tailfit.recipes.train`.
    """
    apply_keras_settings(job["keras"])
    with worker_with(lambda: recipe_of(job["recipe"], modules_of(job["modules"]))) as (me, recipe):
        train_as_worker(
            recipe,
            Path(job["directory"]),
            fetch=job["fetch"],
            verify=job["verify"],
            progress=progress if me.rank == 0 else None,
            everywhere=False,
        )
