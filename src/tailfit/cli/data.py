"""`tailfit inspect` and `tailfit pack`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import tailfit
from tailfit.data.inspection import Inspection, inspect

__all__ = ["run_inspect", "run_pack"]

_SHOWN = 5  # of a list


def run_inspect(data: Path, partition: Path | None) -> bool:
    """Print what there is to know of a data set; whether it is sound."""
    source = tailfit.data.open(data, nan="keep")
    parts = None if partition is None else source.split(partition)
    with _bar("reading") as progress:
        found = inspect(source, parts, progress=progress)
    _show(Console(), found, source)
    return found.sound


def run_pack(data: Path, out: Path) -> None:
    """Pack a data set, showing how far it is."""
    source = tailfit.data.open(data, nan="keep")
    with _bar("packing") as progress:
        tailfit.data.pack(source, out, progress=progress)
    Console().print(f"{escape(str(out))}: {len(source)} samples packed; read it with tailfit.data.open")


def _show(console: Console, found: Inspection, source: tailfit.data.Source) -> None:
    arrays = ", ".join(f"{path or 'record'} {what}" for path, what in found.arrays.items())
    console.print(
        f"{found.samples} samples, {escape(arrays)}, {_size(found.nbytes)}; {source.label_kind or 'no'} labels"
    )
    if len(found.classes):
        table = Table("class", "count", "share")
        for name, count, share in found.classes.iter_rows():
            table.add_row(escape(str(name)), f"{count:g}", f"{share:.2%}")
        console.print(table)
        rare = found.rare
        console.print(
            f"imbalance ratio {found.imbalance_ratio:.1f}; {len(rare)} of {len(found.classes)} classes below 1 %, "
            f"together {rare['share'].sum():.2%} of the samples"
        )
    _listed(console, "NaN or infinity in", [escape(name) for name in found.missing])
    _listed(console, "unreadable:", [escape(message) for message in found.unreadable.values()])
    _listed(console, "equal records:", [escape(" = ".join(group)) for group in found.duplicates])
    _listed(console, "equal records in different parts:", [escape(" = ".join(group)) for group in found.across])


def _listed(console: Console, what: str, items: list[str]) -> None:
    if items:
        more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
        console.print(f"{what} {'; '.join(items[:_SHOWN])}{more} ({len(items)})", soft_wrap=True)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _size(nbytes: int) -> str:
    size, unit = float(nbytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size >= 1024:
            size, unit = size / 1024, larger
    return f"{size:.3g} {unit}"
