"""`tailfit inspect` and `tailfit pack`."""

import dataclasses
import json
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray
from rich.table import Column, Table

import tailfit
from tailfit.cli.progress import count_bar
from tailfit.data.files.npy import read_array
from tailfit.data.inspecting import Inspection, inspect
from tailfit.data.tables.metadata import align
from tailfit.errors import ArgumentError, DataError
from tailfit.names import doubts, shown
from tailfit.storage.json_text import parsed
from tailfit.terminal import PlainConsole
from tailfit.text import visible

__all__ = ["reader_options", "run_inspect", "run_pack"]

_SHOWN = 5  # items shown of a long list
_MOST_COLUMNS, _MOST_ROWS = 10, 40  # of a table of classes by group
_WIDEST = 24  # characters of a group's name that are never cut
_LABELS = {
    None: "no labels",
    "codes": "one class per sample",
    "soft": "soft labels",
    "multi-label": "multi-label samples",
}


def run_inspect(
    data: str,
    partition: Path | None,
    probabilities: Path | None,
    options: Sequence[str],
    *,
    by: Sequence[str] = (),
    as_json: bool = False,
) -> bool:
    """Print the inspection of a data set, and return whether it has no problems."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tailfit.data.DataWarning)  # the inspection shows the same problems
        source = tailfit.data.open(data, nan="keep", **reader_options(options))
    parts = None if partition is None else source.split(partition)
    rows = None if probabilities is None else _probabilities(probabilities, source)
    with count_bar("reading") as progress:
        found = inspect(source, parts, probabilities=rows, by=by or None, progress=progress)
    if as_json:
        fields = {each.name: getattr(found, each.name) for each in dataclasses.fields(found)}
        known = {**fields, "imbalance_ratio": found.imbalance_ratio, "sound": found.sound}
        print(json.dumps(known, indent=1, default=_plain))
    else:
        _show(PlainConsole(), found, source)
    return found.sound


def _plain(value: Any) -> Any:
    """Return tables as lists of rows, for JSON."""
    return value.to_dicts() if isinstance(value, pl.DataFrame) else dict(value)


def run_pack(data: str, out: Path, options: Sequence[str]) -> None:
    """Pack a data set, and show the progress."""
    source = tailfit.data.open(data, nan="keep", **reader_options(options))
    with count_bar("packing") as progress:
        tailfit.data.pack(source, out, progress=progress)
    PlainConsole().print(f"{out}: {len(source)} samples packed; open it with tailfit.data.open")


def reader_options(given: Sequence[str]) -> dict[str, Any]:
    """Parse options NAME=VALUE; values are JSON if they parse as JSON, else text."""
    options = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name.isidentifier():
            raise ArgumentError(f"--option {each}", expected="NAME=VALUE", fix="pass -o label=cause, for example")
        try:
            options[name] = parsed(value)
        except ValueError:
            options[name] = value
    return options


def _probabilities(path: Path, source: tailfit.data.Source) -> NDArray[Any]:
    """Read a row of probabilities for each sample of the source; rows of a table are matched by ID."""
    if path.suffix.lower() == ".npy":
        return read_array(str(path))
    table = align(path, source.ids, what=f"{path}: probabilities")
    missing = [name for name in source.class_names if name not in table.columns]
    if missing:
        raise DataError(
            f"{path} without a column {missing[0]!r}, but with {table.columns}",
            expected="one column per class, named as the class",
            fix=f"add a column {missing[0]!r}, or rename the column that holds this class",
        )
    return table.select(source.class_names).to_numpy()


def _show(console: PlainConsole, found: Inspection, source: tailfit.data.Source) -> None:
    labels = "one class per step" if _has_step_labels(source) else _LABELS[source.label_kind]
    arrays = ", ".join(f"{path or 'record'} {what}" for path, what in found.arrays.items())
    console.print(f"{found.samples} samples, {arrays}, {_size(found.nbytes)}; {labels}", soft_wrap=True)
    if found.steps is not None:
        least, median, most = found.steps
        advice = "" if source.ragged else "; read them with ragged=True (-o ragged=true), or cut windows"
        console.print(f"records differ in length: {least} to {most} steps, median {median:g}{advice}", soft_wrap=True)
    _list(console, "ignored columns, which only number the rows", list(map(repr, found.left_out)))
    if len(found.classes):
        table = Table(*found.classes.columns)
        names = shown(found.classes["class"].to_list())
        for name, (_, count, share, *quality) in zip(names, found.classes.iter_rows(), strict=True):
            table.add_row(name, _number(count), f"{share:.2%}", *map(_quality, quality))
        console.print(table)
        rare = f"{len(found.rare)} of {len(found.classes)} classes below 1 %"
        if len(found.rare):
            rare += f", together {found.rare['share'].sum():.2%} of the samples"
        console.print(f"imbalance ratio {found.imbalance_ratio:.1f}; {rare}")
    if found.groups is not None and source.grouping is not None:
        console.print(f"{found.groups} groups by {source.grouping.by}, none of which a split cuts", soft_wrap=True)
    for name, counts in found.by.items():
        _show_breakdown(console, name, counts, per_step=_has_step_labels(source))
    alone = [f"{name} ({group})" for name, group in found.single_groups.items()]
    _list(console, "classes whose samples are all in one group, so that their recall measures that group", alone)
    if found.sensors is not None:
        _show_sensors(console, found.sensors, found.samples)
    for rest, parts in _grouped(doubts(found.classes["class"].to_list())).items():
        _list(console, "class names", parts, rest)
    _list(console, "records with NaN or infinity", list(found.missing))
    for rest, parts in _grouped(found.unreadable.values()).items():
        _list(console, "unreadable records", parts, rest)
    _list(console, "groups of duplicate records", [" = ".join(group) for group in found.duplicates])
    _list(console, "groups of duplicate records in different parts", [" = ".join(group) for group in found.across])
    if found.quality is not None:
        doubtful = found.quality.filter("doubtful")
        _list(
            console,
            "doubtful labels",
            [f"{name} ({label}: {quality:.2f})" for name, label, quality, _ in doubtful.iter_rows()],
        )


def _has_step_labels(source: tailfit.data.Source) -> bool:
    return len(source) > 0 and source.step_labels(0) is not None


def _show_breakdown(console: PlainConsole, name: str, counts: pl.DataFrame, *, per_step: bool) -> None:
    """Print the classes by group; only the number of groups of each class if there are many classes or groups."""
    names = shown([column.removeprefix("class ") for column in counts.columns[2:]])
    title = f"{'steps of classes' if per_step else 'classes'} by {visible(name)}"
    if len(names) > _MOST_COLUMNS or len(counts) > _MOST_ROWS:
        table = Table("class", f"groups by {visible(name)}", "largest share", title=title)
        for each, of_class in zip(names, counts.drop("group", "samples").to_numpy().T, strict=True):
            table.add_row(each, str((of_class > 0).sum()), f"{of_class.max() / max(of_class.sum(), 1):.0%}")
    else:
        group = Column(visible(name), min_width=min(max(map(len, map(visible, counts["group"]))), _WIDEST))
        table = Table(group, "records" if per_step else "samples", *names, title=title)
        for group_name, samples, *row in counts.iter_rows():
            table.add_row(visible(group_name), _number(samples), *(_number(count) if count else "" for count in row))
    console.print(table)


def _show_sensors(console: PlainConsole, sensors: pl.DataFrame, records: int) -> None:
    incomplete = sensors.filter(pl.col("missing") > 0)
    if not len(incomplete):
        console.print("no reading of any sensor is missing")
        return
    table = Table("sensor", "absent in", "missing readings", title=f"missing sensors of {records} records")
    for name, absent, missing in incomplete.iter_rows():
        table.add_row(visible(name), _number(absent), f"{missing:.1%}")
    console.print(table)


def _grouped(messages: Iterable[str]) -> dict[str, list[str]]:
    """Group messages by their second and third part, so that these are printed once for each kind of problem."""
    kinds: dict[str, list[str]] = {}
    for message in messages:
        received, mark, rest = message.removeprefix("Received ").partition(". Expected ")
        kinds.setdefault(mark + rest, []).append(received)
    return kinds


def _number(count: float) -> str:
    """Return a count; expected counts of soft labels have fractions."""
    return f"{count:g}" if isinstance(count, float) else str(count)


def _quality(mean: float | None) -> str:
    return "" if mean is None else f"{mean:.2f}"


def _list(console: PlainConsole, what: str, items: list[str], rest: str = "") -> None:
    if items:
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        console.print(f"{what} ({len(items)}): {'; '.join(items[:_SHOWN])}{more}{rest}", soft_wrap=True)


def _size(nbytes: int) -> str:
    size, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    return f"{size:.3g} {unit}"
