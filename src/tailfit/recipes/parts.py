"""The data of a recipe: opened, divided, and measured on the training part alone."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

import tailfit.data
from tailfit.data import DataWarning, FillMissing, Mapped, Normalize, Source, Windows
from tailfit.data.opening import open_alike
from tailfit.data.remote.fetching import is_url
from tailfit.data.sources.layout import partition_file
from tailfit.errors import ArgumentError, DataError
from tailfit.names import doubts
from tailfit.recipes.recipe import Recipe, Shares

__all__ = ["Parts", "open_other", "open_part", "open_parts", "record_shape", "weights_of_column"]

_FILES = ("class_names", "labels", "metadata")  # options that are paths, where they are text
_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """What is trained on, chosen by, and measured on.

    Attributes:
        train, test: Labelled sources of equal classes.
        validation: Or None.
        fill: What replaced missing readings, or None.
        normalize: Statistics of the training part, or None.
    """

    train: Source
    validation: Source | None
    test: Source
    fill: FillMissing | None
    normalize: Normalize | None


def open_parts(recipe: Recipe, *, fetch: bool = False) -> Parts:
    """The parts of a recipe's data.

    Args:
        recipe: Its `data` says where they are.
        fetch: Whether a URL in it may be fetched.
    Raises:
        DataError: for data that are not there, not labelled by one class a sample, or whose parts lack a class.
        ArgumentError: for a URL without `fetch`; for what the source does not take.
    """
    named, fill = _cut(recipe, fetch), None
    if recipe.data.fill_missing is not None:
        fill = FillMissing.fit(named["train"], method=recipe.data.fill_missing)
        named = {name: _filled(part, fill) for name, part in named.items()}
    normalize = Normalize.fit(named["train"]) if recipe.data.normalize else None
    return Parts(named["train"], named.get("validation"), named["test"], fill, normalize)


def open_part(recipe: Recipe, name: str, fill: FillMissing | None, *, fetch: bool = False) -> Source:
    """One part of a recipe's data, filled as it was for the training: nothing is measured again.

    Args:
        recipe: Its `data` says where it is.
        name: Of the part.
        fill: As `Parts.fill` was.
        fetch: Whether a URL may be fetched.
    Raises:
        ArgumentError: for a part that the data do not have; else as `open_parts`.
    """
    named = _cut(recipe, fetch)
    if name not in named:
        raise ArgumentError(f"part={name!r}", expected="a part that the run's data have", fix="use test")
    return _filled(named[name], fill)


def open_other(recipe: Recipe, path: str, fill: FillMissing | None) -> Source:
    """Other data in the form of a recipe's: read, cut and filled as those were.

    Args:
        recipe: Its `data` says how.
        path: What `tailfit.data.open` reads; a URL too, as the user names it.
        fill: As `Parts.fill` was.
    """
    # Labels and metadata lie beside the other data; those of the recipe are of its own.
    options = {name: value for name, value in recipe.data.options.items() if name not in ("labels", "metadata")}
    source = open_alike(path, nan=_nan(recipe), options=options)
    return _filled(_windows(recipe, _of_classes(source, path)), fill)


def record_shape(source: Source) -> tuple[int, ...]:
    """Of one record."""
    return tuple(np.shape(source.read([0]))[1:])


def weights_of_column(source: Source, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sample weights out of the metadata.

    Raises:
        DataError: for a source without the column, or one of no numbers.
    """
    table = source.metadata
    if table is None or column not in table.columns:
        known = [] if table is None else [name for name in table.columns if name != "id"]
        raise DataError(
            f"sample_weight: the column {column!r}",
            expected=f"a column of the metadata: {', '.join(known) or 'there is none'}",
            fix="correct the name, or add the column",
        )
    values = table[column]
    if not values.dtype.is_numeric() or values.null_count():
        raise DataError(
            f"sample_weight: the column {column!r} of {values.dtype} with {values.null_count()} nulls",
            expected="a number for each sample",
            fix="fill it in",
        )
    return values.cast(pl.Float64).to_numpy()


def _cut(recipe: Recipe, fetch: bool) -> dict[str, Source]:
    # Divided first, cut into windows then: two windows of one record resemble each other.
    return {name: _windows(recipe, part) for name, part in _divided(recipe, _opened(recipe, fetch)).items()}


def _filled(source: Source, fill: FillMissing | None) -> Source:
    return source if fill is None else Mapped(source, fill)


def _opened(recipe: Recipe, fetch: bool) -> Source:
    data = recipe.data
    if is_url(data.path) and not fetch:
        raise ArgumentError(
            f"{recipe.at('data.path')}: the URL {data.path}",
            expected="a path; a URL where you say so, as a recipe reaches no network of its own accord",
            fix="pass --fetch (in Python: fetch=True)",
        )
    where = data.path if is_url(data.path) else str(recipe.folder / data.path)
    files = {key: str(recipe.folder / value) for key, value in data.options.items() if _is_file(key, value)}
    return _of_classes(tailfit.data.open(where, nan=_nan(recipe), **{**data.options, **files}), where)


def _is_file(key: str, value: Any) -> bool:
    return key in _FILES and isinstance(value, str)


def _nan(recipe: Recipe) -> str:
    return "raise" if recipe.data.fill_missing is None else "keep"


def _of_classes(source: Source, where: str) -> Source:
    if source.label_kind != "codes":
        raise DataError(
            f"{where} with {source.label_kind or 'no'} labels",
            expected="one class a sample, for what a recipe trains and measures",
            fix="use tailfit.Batches and tailfit.Model from Python for multi-label and soft labels",
        )
    for message in doubts(source.class_names):
        warnings.warn(f"{where}: {message}", DataWarning, stacklevel=2)
    return source


def _windows(recipe: Recipe, source: Source) -> Source:
    wanted = recipe.data.windows
    if wanted is not None:
        return Windows(source, wanted.length, wanted.stride)
    if source.ragged:
        raise DataError(
            "records of different length", expected="records of one shape", fix="cut windows: data.windows.length"
        )
    return source


def _divided(recipe: Recipe, whole: Source) -> dict[str, Source]:
    data = recipe.data
    beside = None if is_url(data.path) else partition_file(recipe.folder / data.path)
    if data.partition is not None:
        parts: Mapping[str, Source] = whole.split(recipe.folder / data.partition)
    elif data.split is None and beside is not None:
        parts = whole.split(beside)
    else:
        parts = _shared(whole, data.split or Shares())
    missing = [name for name in ("train", "test") if name not in parts]
    if missing:
        raise DataError(
            f"{recipe.at('data.partition')}: no part {missing[0]!r}, but {', '.join(map(repr, parts))}",
            expected="train and test, and validation if you wish",
            fix="name the parts so",
        )
    empty = [name for name in _NAMES if name in parts and not len(parts[name])]
    if empty:
        raise DataError(f"an empty part {empty[0]!r}", expected="a sample in each part", fix="give it some")
    absent = np.flatnonzero(parts["train"].class_counts == 0)
    if len(absent):
        raise DataError(
            f"the class {whole.class_names[absent[0]]!r} without a sample in the training part",
            expected="one at least of each class",
            fix="move one there, or leave the class out of the class names",
        )
    return {name: parts[name] for name in _NAMES if name in parts}


def _shared(whole: Source, shares: Shares) -> dict[str, Source]:
    wanted = {"train": shares.train, "validation": shares.validation, "test": shares.test}
    fractions = {name: share for name, share in wanted.items() if share is not None}
    parts = whole.split(*fractions.values(), by=shares.by, seed=shares.seed)
    return dict(zip(fractions, parts, strict=True))
