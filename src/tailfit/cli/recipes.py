"""`tailfit evaluate`, `recipe schema` and `recipe check`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailfit.cli.reporting import console_of_any_width
from tailfit.recipes import evaluate_run, load_recipe, schema
from tailfit.recipes.directory import check_not_of_run
from tailfit.recipes.document import Document
from tailfit.storage.writing import write_text

__all__ = ["run_check", "run_evaluate", "run_schema"]


def run_evaluate(
    run: Path,
    *,
    data: str | None = None,
    part: Any = "test",
    modules: Sequence[str] = (),
    fetch: bool = False,
    out: Path | None = None,
    as_json: bool = False,
) -> None:
    """Evaluate a run, and print or write the evaluation."""
    if out is not None:
        check_not_of_run(out.absolute())
    evaluation = evaluate_run(run, data=data, part=part, modules=modules, fetch=fetch)
    if as_json:
        print(evaluation.to_json())
    else:
        console_of_any_width().print(evaluation.summary())
    if out is not None:
        (evaluation.save_html if out.suffix == ".html" else evaluation.save_json)(out)


def run_check(document: Document, modules: Sequence[str]) -> None:
    """Load a recipe, which raises an error if it is invalid, and print that it is valid."""
    recipe = load_recipe(document, modules=modules)
    loss = getattr(recipe.loss, "name", "custom loss")
    console_of_any_width().print(f"{document.name}: valid ({loss}, {recipe.epochs} epochs)")


def run_schema(out: Path | None) -> None:
    """Print or write the JSON schema of recipes."""
    text = json.dumps(schema(), indent=1)
    if out is None:
        print(text)
    else:
        write_text(out, text + "\n")
