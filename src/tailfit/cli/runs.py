"""`tailfit runs`, which does not need Keras."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from tailfit.cli.reporting import console_of_any_width
from tailfit.recipes.listing import list_runs

__all__ = ["run_runs"]

_FIGURES = {"balanced_accuracy": "balanced accuracy"}


def run_runs(folder: Path, sort: str | None, where: str | None, members: bool, as_json: bool) -> None:
    """Print the runs and comparisons below a folder as a table or as JSON."""
    found = list_runs(folder, where=where, sort=sort, members=members)
    if as_json:
        print(json.dumps(found.to_dicts(), indent=1, default=_as_text))
        return
    console = console_of_any_width()
    if not found.height:
        console.print(f"no runs in {folder}" if where is None else f"no runs in {folder} that match", soft_wrap=True)
        return
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("run", overflow="fold")
    for name in ("state", "started", "time"):
        table.add_column(name, no_wrap=True)
    for name in ("data", "name"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=24)
    for name in _FIGURES.values():
        table.add_column(name, justify="right")
    notes = []
    for row in found.iter_rows(named=True):
        data = Path(row["data"] or "").name
        figures = [_figure(row, key) for key in _FIGURES]
        table.add_row(
            row["run"], row["state"], _local(row["started"]), _duration(row["seconds"]), data, row["name"], *figures
        )
        details = row["problem"] or row["verdicts"]
        notes += [f"{row['run']}: {details}"] if details else []
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _figure(row: Mapping[str, Any], key: str) -> str:
    value, low, high = row[key], row[f"{key}_low"], row[f"{key}_high"]
    return "" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _local(time: datetime | None) -> str:
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
