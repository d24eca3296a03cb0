"""The commands `tailfit recipe schema` and `tailfit recipe check`."""

from pathlib import Path
from typing import Annotated

import typer

from tailfit.cli.backends import choose_backend, read_recipe
from tailfit.cli.importing import imports_uncollected
from tailfit.cli.parameters import BackendOption, ModulesOption, RecipeArgument, SetOption

__all__ = ["recipe_app"]

recipe_app = typer.Typer(
    help="Check a recipe, or print the JSON schema of recipes.", no_args_is_help=True, rich_markup_mode=None
)


@recipe_app.command()
def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the schema to a file.")] = None,
) -> None:
    """Print the JSON schema of recipes, for completion in editors.

    Example: tailfit recipe schema --out recipe.schema.json
    """
    choose_backend(None)
    with imports_uncollected():
        from tailfit.cli.recipes import run_schema

    run_schema(out)


@recipe_app.command()
def check(
    recipe: RecipeArgument, module: ModulesOption = None, set: SetOption = None, backend: BackendOption = None
) -> None:
    """Check a recipe without opening data or training.

    Example: tailfit recipe check faults.yaml
    """
    document = read_recipe(recipe, set, backend)
    with imports_uncollected():
        from tailfit.cli.recipes import run_check

    run_check(document, module or [])
