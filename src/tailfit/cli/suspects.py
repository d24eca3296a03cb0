"""`tailfit suspects`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl
from rich.table import Table

from tailfit.cli.next_steps import after_suspects, print_next
from tailfit.cli.progress import hint_when_stopped, training_bar
from tailfit.cli.reporting import console_of_any_width
from tailfit.recipes import find_suspects, load_recipe
from tailfit.recipes.document import Document
from tailfit.recipes.suspects_page import cell_text, metadata_columns

__all__ = ["run_suspects"]

_WIDE: Final = 130  # columns of a terminal from which metadata are shown
_MOST: Final = 3  # columns of metadata
_MANY: Final = 0.3  # share of suspects from which the networks are more likely wrong than the labels


def run_suspects(
    document: Document,
    out: Path,
    *,
    folds: int,
    top: int,
    modules: Sequence[str],
    fetch: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Find doubtful labels, and print the first ones."""
    recipe = load_recipe(document, modules=modules)
    with hint_when_stopped(), training_bar(recipe.epochs * folds) as advance:

        def show(fold: int, epoch: int, figures: Mapping[str, float]) -> None:
            advance(f"fold {fold} of {folds}", (fold - 1) * recipe.epochs + epoch, figures)

        result = find_suspects(recipe, out, folds=folds, fetch=fetch, verify=verify, progress=show)
    if as_json:
        print(result.to_json())
        return
    console = console_of_any_width()
    found = result.found
    if found.height and top:
        console.print(_table(found.head(top), console.width))
    more = f", the first {top} are shown" if 0 < top < found.height else ""
    console.print(f"{found.height:,} of {result.table.height:,} labels are probably wrong{more}", soft_wrap=True)
    if found.height > _MANY * result.table.height:
        console.print(
            f"More than {_MANY:.0%} of the labels are doubted, so doubt the networks first: train them longer",
            soft_wrap=True,
        )
    if result.unjudged:
        left = ", ".join(f"{number:,} of {name}" for name, number in result.unjudged.items())
        console.print(f"Not judged, because all samples of the class are in one group: {left}", soft_wrap=True)
    console.print(f"Written: {out} (open suspects.html; suspects.csv, quality.parquet)", soft_wrap=True)
    console.print("Look at these samples, and correct labels that are wrong.", soft_wrap=True)
    if steps := after_suspects(recipe):
        print_next(console, steps)


def _table(found: pl.DataFrame, width: int) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("ID", overflow="fold", min_width=8)
    for name in ("given", "likely"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=24)
    for name in ("quality", "p likely"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("part", no_wrap=True)
    further = ["group"] * ("group" in found.columns)
    if width >= _WIDE:
        further += metadata_columns(found)[:_MOST]
    for name in further:
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=20)
    for row in found.iter_rows(named=True):
        figures = [f"{row[name]:.3f}" for name in ("quality", "p likely")]
        table.add_row(
            row["id"], row["given"], row["likely"], *figures, row["part"], *(cell_text(row[name]) for name in further)
        )
    return table
