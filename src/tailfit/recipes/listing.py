"""A table of all runs and comparisons below a folder; needs neither Keras nor the data.

Reading is bounded: links are not followed, folders are searched to a depth of 8, and at most 100,000 entries are looked
at. A run that can't be read is a row with the state `damaged` and the reason.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import polars as pl

from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.evaluation.comparison_figures import READABLE
from tailfit.evaluation.evaluation import Evaluation
from tailfit.recipes.directory import OF_FOLD, OF_REMEDY, Claim, read_claim, read_fields
from tailfit.resume.lock import is_locked
from tailfit.storage.json_text import MOST_JSON
from tailfit.storage.reading import read_text
from tailfit.weights.conditions import matches

__all__ = ["FIGURES", "list_runs"]

FIGURES: Final = ("balanced_accuracy", "macro_f1", "accuracy", "worst_class_recall")
_SCHEMA: Final[Mapping[str, Any]] = {
    "run": pl.String,
    "kind": pl.String,
    "state": pl.String,
    "started": pl.Datetime("ms", "UTC"),
    "seconds": pl.Float64,
    "data": pl.String,
    "name": pl.String,
    "backend": pl.String,
    **{f"{figure}{end}": pl.Float64 for figure in FIGURES for end in ("", "_low", "_high")},
    "verdicts": pl.String,
    "chosen": pl.String,
    "problem": pl.String,
}
_DEEPEST: Final = 8
_MOST_ENTRIES: Final = 100_000


def list_runs(
    folder: str | PathLike[str] = "runs", *, where: str | None = None, sort: str | None = None, members: bool = False
) -> pl.DataFrame:
    """Return a row for each run and comparison in a folder and its subfolders.

    Args:
        folder: The folder, or the directory of a single run.
        where: Condition on the columns, a SQL expression such as `state = 'done' AND balanced_accuracy > 0.8`.
        sort: Column to sort by; with `-` in front, in descending order. By default the time of the start.
        members: Whether the runs of a comparison, or of the folds of `find_suspects`, have rows of their own.
    Returns:
        The columns `run` (path relative to `folder`), `kind` (`run`, `comparison` or `suspects`), `state`, `started`
        (UTC), `seconds` (from the start to the result), `data`, `name`, `backend`, figures with the ends of their
        intervals (of a comparison those of its baseline), `verdicts` on the remedies, the `chosen` one, and `problem`.
        The state is `running` (a process works in the directory), `done`, `ended` (stopped or killed before the end) or
        `damaged`.
    Raises:
        DataError: If the folder does not exist.
        ArgumentError: If the condition or the column is invalid.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as empty:
    ...     list_runs(empty).height
    0
    """
    root = Path(fspath(folder))
    if not root.is_dir():
        raise DataError(f"{root}: no such folder", expected="a folder with runs", fix="check the path")
    rows = list(_rows(root, members))
    table = pl.DataFrame(rows, schema=dict(_SCHEMA), orient="row")
    if where is not None:
        table = table.filter(pl.Series(matches(table, where), dtype=pl.Boolean))
    column = (sort or "started").removeprefix("-")
    if column not in table.columns:
        raise ArgumentError(
            f"sort={sort!r}",
            expected=f"one of {', '.join(table.columns)}",
            fix="name a column, e.g. -balanced_accuracy",
        )
    descending = sort is not None and sort.startswith("-")
    return table.sort(column, "run", descending=[descending, False], nulls_last=True, maintain_order=True)


@dataclass
class _Search:
    """A bounded search for directories of runs."""

    members: bool
    left: int = _MOST_ENTRIES

    def below(self, folder: Path, depth: int = 0) -> Iterator[tuple[Path, str]]:
        """Yield each directory of a run or comparison, and its kind."""
        files, folders = self._entries(folder)
        of_remedies = [name for name in folders if OF_REMEDY.fullmatch(name)]
        if "run.json" in files:
            yield folder, "run"
            return
        kind = None
        if "comparison.json" in files or ("lock" in files and of_remedies):
            kind = "comparison"
        elif "suspects.csv" in files or ("lock" in files and any(map(OF_FOLD.fullmatch, folders))):
            kind = "suspects"
        if kind is not None:
            yield folder, kind
        if depth < _DEEPEST and (self.members or kind is None):
            for name in sorted(folders):
                yield from self.below(folder / name, depth + 1)

    def _entries(self, folder: Path) -> tuple[set[str], list[str]]:
        files, folders = set[str](), list[str]()
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    self.left -= 1
                    if self.left < 0:
                        break
                    if entry.is_dir(follow_symlinks=False):
                        folders += [] if entry.name.startswith(".") else [entry.name]
                    else:
                        files.add(entry.name)
        except OSError:  # removed meanwhile, or not readable
            pass
        return files, folders


def _rows(root: Path, members: bool) -> Iterator[list[Any]]:
    for place, kind in _Search(members).below(root):
        row: dict[str, Any] = dict.fromkeys(_SCHEMA)
        row["run"] = str(place.relative_to(root)) if place != root else str(root)
        row["kind"] = kind
        try:
            for found in _READERS[kind](place):
                row.update(found)
        except (DataError, OSError) as error:
            row.update(state="damaged", problem=str(error))
        yield list(row.values())


def _run(place: Path) -> Iterator[dict[str, Any]]:
    """Yield what is known of a run, piece by piece, so that a damaged one shows what can be read."""
    claim = read_claim(place)
    if claim is None:
        raise DataError(f"{place / 'run.json'}: not a regular file", expected="a file", fix="remove the directory")
    finished = (place / "result.json").is_file()
    yield {
        "state": _state(place, finished),
        "started": _time(place / "run.json"),
        "data": _text(claim, "data", "path"),
        "name": _text(claim, "name") or _text(claim, "loss", "name"),
        "backend": claim.backend,
    }
    if finished:
        yield {"seconds": _seconds(place / "run.json", place / "result.json")}
        path = place / "evaluation.json"
        try:
            evaluation = Evaluation.from_json(read_text(path, MOST_JSON))
        except RecordError:
            raise  # its message names the file
        except DataError as error:
            raise DataError(f"{path}: {error.received}", expected=error.expected, fix=error.fix) from error
        for figure in FIGURES:
            value = evaluation.overall[figure]
            yield {figure: float(value), f"{figure}_low": value.low, f"{figure}_high": value.high}


def _comparison(place: Path) -> Iterator[dict[str, Any]]:
    result = place / "comparison.json"
    yield {"state": _state(place, result.is_file()), "name": "comparison"}
    first = next((run for run, kind in _Search(members=True).below(place) if kind == "run"), None)
    claim = None if first is None else read_claim(first)
    if first is not None and claim is not None:
        yield {"started": _time(first / "run.json"), "data": _text(claim, "data", "path"), "backend": claim.backend}
    if not result.is_file():
        return
    fields = read_fields(result, READABLE)
    try:
        verdicts, figures = dict(fields["verdicts"]), dict(fields["figures"][fields["baseline"]])
        yield {
            "verdicts": ", ".join(f"{name}: {verdict}" for name, verdict in verdicts.items()),
            "chosen": None if fields.get("chosen") is None else str(fields["chosen"]),
            "name": f"{1 + len(verdicts)} remedies, {len(fields['seeds'])} seeds",
        }
        for figure in set(FIGURES) & figures.keys():
            each = {end: float(figures[figure][end]) for end in ("value", "low", "high")}
            yield {figure: each["value"], f"{figure}_low": each["low"], f"{figure}_high": each["high"]}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{result}: {type(error).__name__}: {error}", expected="the file as tailfit wrote it", fix="compare again"
        ) from error
    if first is not None:
        yield {"seconds": _seconds(first / "run.json", result)}


def _suspects(place: Path) -> Iterator[dict[str, Any]]:
    result = place / "suspects.html"  # the last file
    yield {"state": _state(place, result.is_file()), "name": "doubtful labels"}
    first = next((run for run, kind in _Search(members=True).below(place) if kind == "run"), None)
    claim = None if first is None else read_claim(first)
    if first is not None and claim is not None:
        yield {"started": _time(first / "run.json"), "data": _text(claim, "data", "path"), "backend": claim.backend}
        if result.is_file():
            yield {"seconds": _seconds(first / "run.json", result)}


_READERS: Final = {"comparison": _comparison, "run": _run, "suspects": _suspects}


def _state(place: Path, finished: bool) -> str:
    if is_locked(place):
        return "running"
    return "done" if finished else "ended"


def _time(path: Path) -> int:
    return int(path.stat().st_mtime * 1000)


def _seconds(start: Path, end: Path) -> float:
    return max(0.0, (_time(end) - _time(start)) / 1000)


def _text(claim: Claim, *keys: str) -> str | None:
    value: Any = claim.recipe
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None
