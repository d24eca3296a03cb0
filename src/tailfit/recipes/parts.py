"""Opening and splitting of a recipe's data; statistics are computed on the training part alone."""

import warnings
from collections.abc import Mapping, Sequence
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

__all__ = ["Parts", "as_in_training", "open_other_data", "open_part", "open_parts", "record_shape", "weights_of_column"]

_FILE_OPTIONS = ("class_names", "labels", "metadata")  # options whose value is a path if it is text
_PART_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """The training, validation and test parts of a recipe's data.

    Attributes:
        train, test: Labelled sources with the same classes.
        validation: Source with the same classes, or None.
        fill: Transform that replaced missing readings, or None.
        normalize: Mean and standard deviation of each channel of the training part, or None.
    """

    train: Source
    validation: Source | None
    test: Source
    fill: FillMissing | None
    normalize: Normalize | None


def open_parts(recipe: Recipe, *, fetch: bool = False) -> Parts:
    """Open a recipe's data and split them into parts.

    Args:
        recipe: Recipe whose `data` is opened.
        fetch: Whether a URL may be downloaded.
    Raises:
        DataError: If the data do not exist, do not have exactly one class per sample, or the training part lacks a
            class.
        ArgumentError: If `path` is a URL and `fetch` is false, or the source rejects an option.
    """
    named, fill = _split_and_cut(recipe, fetch), None
    if recipe.data.fill_missing is not None:
        fill = FillMissing.fit(named["train"], method=recipe.data.fill_missing)
        named = {name: _filled(part, fill) for name, part in named.items()}
    normalize = Normalize.fit(named["train"]) if recipe.data.normalize else None
    return Parts(named["train"], named.get("validation"), named["test"], fill, normalize)


def open_part(recipe: Recipe, name: str, fill: FillMissing | None, *, fetch: bool = False) -> Source:
    """Open one part of a recipe's data, with missing readings filled as in training; nothing is fitted again.

    Args:
        recipe: Recipe whose `data` is opened.
        name: Name of the part.
        fill: `Parts.fill` of the training.
        fetch: Whether a URL may be downloaded.
    Raises:
        ArgumentError: If the data have no such part; also see `open_parts`.
    """
    named = _split_and_cut(recipe, fetch)
    if name not in named:
        raise ArgumentError(f"part={name!r}", expected=f"one of {', '.join(map(repr, named))}", fix="use part='test'")
    return _filled(named[name], fill)


def open_other_data(
    recipe: Recipe,
    path: str,
    fill: FillMissing | None,
    *,
    channels: Sequence[str] | None = None,
    labels: bool = True,
) -> Source:
    """Open different data in the same way as a recipe's: with its options, windows and filled readings.

    Args:
        recipe: Recipe whose `data` describes how to read.
        path: Path for `tailfit.data.open`; a URL is allowed, because the user passes it explicitly.
        fill: `Parts.fill` of the training.
        channels: Names of the channels of the training, if known.
        labels: Whether the data have labels of one class per sample; otherwise labels are not read.
    """
    # These options name files of the recipe's own data; the files of the new data are found next to them.
    options = {name: value for name, value in recipe.data.options.items() if name not in ("labels", "metadata")}
    source = open_alike(path, nan=_nan(recipe), options=options, labels=labels, channels=channels)
    return _filled(_windows(recipe, _check_labels(source, path) if labels else source), fill)


def as_in_training(recipe: Recipe, source: Source, fill: FillMissing | None, shape: tuple[int, ...]) -> Source:
    """Return a source with windows and filled readings as in the training.

    Args:
        recipe: Recipe of the training.
        source: Records, or windows that are already cut.
        fill: `Parts.fill` of the training.
        shape: Shape of one record of the training.
    """
    cut = not source.ragged and len(source) and record_shape(source) == shape
    return _filled(source if cut else _windows(recipe, source), fill)


def record_shape(source: Source) -> tuple[int, ...]:
    """Return the shape of one record."""
    return tuple(np.shape(source.read([0]))[1:])


def weights_of_column(source: Source, column: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return sample weights from a column of the metadata.

    Raises:
        DataError: If the source has no such column, or the column has nulls or is not numeric.
    """
    table = source.metadata
    if table is None or column not in table.columns:
        known = [] if table is None else [name for name in table.columns if name != "id"]
        raise DataError(
            f"sample_weight: the unknown column {column!r}",
            expected=f"a column of the metadata ({', '.join(known) or 'it has none'})",
            fix="correct the name, or add the column to the metadata",
        )
    values = table[column]
    if not values.dtype.is_numeric() or values.null_count():
        raise DataError(
            f"sample_weight: the column {column!r} of type {values.dtype} with {values.null_count()} nulls",
            expected="a number for each sample",
            fix="name a numeric column, and replace its nulls",
        )
    return values.cast(pl.Float64).to_numpy()


def _split_and_cut(recipe: Recipe, fetch: bool) -> dict[str, Source]:
    # Split first, then cut windows: windows of one record are alike and must not end up in different parts.
    return {name: _windows(recipe, part) for name, part in _split(recipe, _open(recipe, fetch)).items()}


def _filled(source: Source, fill: FillMissing | None) -> Source:
    if fill is None:
        return source
    mapped = Mapped(source, fill)
    mapped.channels = source.channels
    return mapped


def _open(recipe: Recipe, fetch: bool) -> Source:
    data = recipe.data
    if is_url(data.path) and not fetch:
        raise ArgumentError(
            f"{recipe.at('data.path')}: the URL {data.path}",
            expected="a local path, because a recipe never accesses the network by itself",
            fix="to download the URL, pass --fetch (in Python: fetch=True)",
        )
    where = data.path if is_url(data.path) else str(recipe.folder / data.path)
    files = {key: str(recipe.folder / value) for key, value in data.options.items() if _is_file(key, value)}
    return _check_labels(tailfit.data.open(where, nan=_nan(recipe), **{**data.options, **files}), where)


def _is_file(key: str, value: Any) -> bool:
    return key in _FILE_OPTIONS and isinstance(value, str)


def _nan(recipe: Recipe) -> str:
    return "raise" if recipe.data.fill_missing is None else "keep"


def _check_labels(source: Source, where: str) -> Source:
    if source.label_kind != "codes":
        raise DataError(
            f"{where} with {source.label_kind or 'no'} labels",
            expected="one class per sample, which recipes require",
            fix="use tailfit.Batches and tailfit.Model from Python for multi-label and soft labels",
        )
    for message in doubts(source.class_names):
        warnings.warn(f"{where}: {message}", DataWarning, stacklevel=2)
    return source


def _windows(recipe: Recipe, source: Source) -> Source:
    windows = recipe.data.windows
    if windows is not None:
        return Windows(source, windows.length, windows.stride)
    if source.ragged:
        raise DataError(
            "records of different lengths",
            expected="records of one shape",
            fix="cut the records into windows: set data.windows.length",
        )
    return source


def _split(recipe: Recipe, whole: Source) -> dict[str, Source]:
    data = recipe.data
    partition = None if is_url(data.path) else partition_file(recipe.folder / data.path)
    if data.partition is not None:
        parts: Mapping[str, Source] = whole.split(recipe.folder / data.partition)
    elif data.split is None and partition is not None:
        parts = whole.split(partition)
    else:
        parts = _split_by_shares(whole, data.split or Shares())
    missing = [name for name in ("train", "test") if name not in parts]
    if missing:
        raise DataError(
            f"{recipe.at('data.partition')}: no part {missing[0]!r}, only {', '.join(map(repr, parts))}",
            expected="the parts train and test, and optionally validation",
            fix="rename the parts in the partition file",
        )
    empty = [name for name in _PART_NAMES if name in parts and not len(parts[name])]
    if empty:
        raise DataError(
            f"an empty part {empty[0]!r}",
            expected="at least one sample in each part",
            fix="add samples to the part, or change data.split",
        )
    absent = np.flatnonzero(parts["train"].class_counts == 0)
    if len(absent):
        raise DataError(
            f"the class {whole.class_names[absent[0]]!r} without a sample in the training part",
            expected="at least one training sample of each class",
            fix="move a sample into the training part, or remove the class from the class names",
        )
    return {name: parts[name] for name in _PART_NAMES if name in parts}


def _split_by_shares(whole: Source, shares: Shares) -> dict[str, Source]:
    shares_by_name = {"train": shares.train, "validation": shares.validation, "test": shares.test}
    fractions = {name: share for name, share in shares_by_name.items() if share is not None}
    parts = whole.split(*fractions.values(), by=shares.by, seed=shares.seed)
    return dict(zip(fractions, parts, strict=True))
