"""Opening and splitting of a recipe's data; statistics are computed on the training part alone."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import tailfit.data
from tailfit.data import DataWarning, FillMissing, Mapped, Normalize, Source, Subset, Windows
from tailfit.data.folding import folds
from tailfit.data.grouping import components, grouping_of
from tailfit.data.opening import open_alike
from tailfit.data.remote.fetching import is_url
from tailfit.data.sources.layout import partition_file
from tailfit.errors import ArgumentError, DataError, TailfitError
from tailfit.names import doubts
from tailfit.recipes.data_keys import Shares
from tailfit.recipes.recipe import Recipe, with_location
from tailfit.weights.conditions import matches

__all__ = [
    "FILE_OPTIONS",
    "Parts",
    "as_in_training",
    "fold_partitions",
    "group_of_each",
    "open_other_data",
    "open_part",
    "open_parts",
    "record_shape",
    "split_parts",
    "weights_of_column",
]

FILE_OPTIONS = ("class_names", "labels", "metadata")  # options whose value is a path if it is text
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
    named, fill = split_parts(recipe, fetch), None
    if recipe.data.filling is not None:
        fill = FillMissing.fit(named["train"], **recipe.data.filling)
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
    named = split_parts(recipe, fetch)
    if name not in named:
        raise ArgumentError(f"part={name!r}", expected=f"one of {', '.join(map(repr, named))}", fix="use part='test'")
    return _filled(named[name], fill)


def open_other_data(
    recipe: Recipe,
    path: str,
    fill: FillMissing | None,
    *,
    channels: Sequence[str] | None = None,
    recordings: bool = False,
    labels: bool = True,
) -> Source:
    """Open different data in the same way as a recipe's: with its options, windows and filled readings.

    Args:
        recipe: Recipe whose `data` describes how to read.
        path: Path for `tailfit.data.open`; a URL is allowed, because the user passes it explicitly.
        fill: `Parts.fill` of the training.
        channels: Names of the channels of the training, if known.
        recordings: Whether the data of the training are recordings.
        labels: Whether the data have labels of one class per sample; otherwise labels are not read.
    """
    # These options name files of the recipe's own data; the files of the new data are found next to them.
    options = {name: value for name, value in recipe.data.reader_options.items() if name not in ("labels", "metadata")}
    source = open_alike(
        path, nan=_nan(recipe), options=options, labels=labels, channels=channels, recordings=recordings
    )
    if labels:
        _check_labels(recipe, source, path)
    columns = {recipe.data.group} if isinstance(recipe.data.group, str) else set(recipe.data.group or ())
    if columns and source.metadata is not None and columns <= set(source.metadata.columns):
        source = source.grouped(recipe.data.group)  # other data may come from places without groups
    return _filled(_windows(recipe, source, labels=labels), fill)


def as_in_training(recipe: Recipe, source: Source, fill: FillMissing | None, shape: tuple[int, ...]) -> Source:
    """Return a source with windows and filled readings as in the training; labels are ignored.

    Args:
        recipe: Recipe of the training.
        source: Records, or windows that are already cut.
        fill: `Parts.fill` of the training.
        shape: Shape of one record of the training.
    """
    cut = not source.ragged and len(source) and record_shape(source) == shape
    return _filled(source if cut else _windows(recipe, source, labels=False), fill)


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


def group_of_each(source: Source) -> list[str] | None:
    """Return the name of each sample's group; None without groups."""
    return None if source.groups is None else [source.group_names[code] for code in source.groups.tolist()]


def split_parts(recipe: Recipe, fetch: bool) -> dict[str, Source]:
    """Open a recipe's data and split them into parts by name, without any statistics; see `open_parts`."""
    whole = _open(recipe, fetch)
    partition = _partition(recipe)
    if partition is not None:
        divided = _named_parts(recipe, whole.split(partition))
    elif _has_step_labels(whole):
        # Recordings have no class of their own, so shares are those of windows; a recording stays in one part.
        return _checked_train(_split_by_shares(recipe, _windows(recipe, whole)))
    else:
        # Split first, then cut windows: windows of one record are alike and must not end up in different parts.
        divided = _split_by_shares(recipe, whole)
    return _checked_train({name: _windows(recipe, part) for name, part in divided.items()})


def fold_partitions(recipe: Recipe, count: int, fetch: bool) -> list[dict[str, list[str]]]:
    """Divide a recipe's data into folds, and return the partition of each: IDs by part.

    Fold k is the test part of partition k, the next fold is its validation part, and the others are its training part,
    together with the samples of `data.train_only`.

    Args:
        recipe: Recipe whose `data` is opened; of its split or partition only the samples are used.
        count: Number of folds, at least 3.
        fetch: Whether a URL may be downloaded.
    Raises:
        ArgumentError: If there are too few samples or groups for the folds, in all or of a class.
    """
    whole, partition, shares = _open(recipe, fetch), _partition(recipe), recipe.data.split or Shares()
    if partition is not None:
        parts = _named_parts(recipe, whole.split(partition)).values()
        whole = Subset(whole, np.sort(np.concatenate([whole.positions(part.ids) for part in parts])))
    of_recordings = _has_step_labels(whole)
    if of_recordings:
        whole = _windows(recipe, whole)  # recordings have no class of their own
    if partition is None and shares.by is not None:
        whole = whole.grouped(components(grouping_of(whole, shares.by), whole.grouping))
    only = _train_only(recipe, whole)
    rest = Subset(whole, np.flatnonzero(~only))
    try:
        held_out = [rest.positions(part.ids) for _, part in folds(rest, count, seed=shares.seed)]
    except ArgumentError as error:
        raise _too_few(f"{len(rest)} samples", rest, count) from error
    ids = _record_ids(whole) if of_recordings else np.array(whole.ids, dtype=object)
    among, always = ids[~only], ids[only].tolist()
    codes, partitions = np.asarray(rest.labels), list[dict[str, list[str]]]()
    for number, rows in enumerate(held_out):
        following = held_out[(number + 1) % count]
        training = np.setdiff1d(np.arange(len(rest)), np.concatenate([rows, following]))
        known = {*codes[training].tolist(), *np.asarray(whole.labels)[only].tolist()}
        if absent := sorted({*codes.tolist()} - known):
            samples = int((codes == absent[0]).sum())
            raise _too_few(f"{samples} samples of the class {rest.class_names[absent[0]]!r}", rest, count, absent[0])
        chosen: dict[str, Any] = {
            "train": [*always, *among[training]],
            "validation": among[following],
            "test": among[rows],
        }
        partitions.append({name: list(dict.fromkeys(each)) for name, each in chosen.items()})
    return partitions


def _record_ids(windows: Source) -> NDArray[Any]:
    """Return the ID of the recording of each window."""
    if windows.metadata is None:
        raise TypeError("windows without metadata")
    return np.array(windows.metadata["record"].to_list(), dtype=object)


def _too_few(received: str, source: Source, count: int, of_class: int | None = None) -> ArgumentError:
    """Return the error for data that cannot be divided into folds."""
    groups = ""
    if source.groups is not None:
        rows = slice(None) if of_class is None else np.asarray(source.labels) == of_class
        number = len(np.unique(source.groups[rows]))
        groups = f" in {number} group{'s' * (number != 1)}"
    return ArgumentError(
        f"folds={count} of {received}{groups}",
        expected="a sample of each class in the training part of each fold, which has neither the test nor the "
        "validation samples; no group is cut",
        fix="use data with more samples or groups of each class, or compare without folds; another number of folds or "
        "data.split.seed may do if a class is in three groups or more",
    )


def _partition(recipe: Recipe) -> Path | None:
    """Return the path of the partition; None if the data are split by shares."""
    data = recipe.data
    if data.partition is not None:
        return recipe.folder / data.partition
    if data.split is not None or data.train_only is not None or is_url(data.path):
        return None
    return partition_file(recipe.folder / data.path)


def _has_step_labels(source: Source) -> bool:
    return len(source) > 0 and source.step_labels(0) is not None


def _filled(source: Source, fill: FillMissing | None) -> Source:
    if fill is None:
        return source
    mapped = Mapped(source, fill)
    mapped.channels, mapped.step_seconds = source.channels, source.step_seconds
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
    options = data.reader_options
    files = {key: str(recipe.folder / value) for key, value in options.items() if _is_file(key, value)}
    source = _check_labels(recipe, tailfit.data.open(where, nan=_nan(recipe), **{**options, **files}), where)
    try:
        return source.grouped(recipe.data.group) if recipe.data.group else source
    except TailfitError as error:
        raise with_location(recipe, "data.group", error) from error


def _is_file(key: str, value: Any) -> bool:
    return key in FILE_OPTIONS and isinstance(value, str)


def _nan(recipe: Recipe) -> str:
    return "raise" if recipe.data.filling is None else "keep"


def _check_labels(recipe: Recipe, source: Source, where: str) -> Source:
    if _has_step_labels(source):
        if recipe.data.windows is None:
            raise DataError(
                f"{where} with a label per step",
                expected="windows of the recordings, which have one class each",
                fix="set data.windows.length, and data.windows.label if it is not that of the last step",
            )
    elif source.label_kind != "codes":
        raise DataError(
            f"{where} with {source.label_kind or 'no'} labels",
            expected="one class per sample, which recipes require",
            fix="use tailfit.Batches and tailfit.Model from Python for multi-label and soft labels",
        )
    for message in doubts(source.class_names):
        warnings.warn(f"{where}: {message}", DataWarning, stacklevel=2)
    return source


def _windows(recipe: Recipe, source: Source, *, labels: bool = True) -> Source:
    windows = recipe.data.windows
    if windows is not None:
        try:
            rule, onset = (windows.label, windows.onset) if labels else (None, None)
            return Windows(source, windows.length, windows.stride, label=rule, onset=onset)
        except TailfitError as error:
            raise with_location(recipe, "data.windows", error) from error
    if source.ragged:
        raise DataError(
            "records of different lengths",
            expected="records of one shape",
            fix="cut the records into windows: set data.windows.length",
        )
    return source


def _named_parts(recipe: Recipe, parts: Mapping[str, Source]) -> dict[str, Source]:
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
    return {name: parts[name] for name in _PART_NAMES if name in parts}


def _checked_train(parts: dict[str, Source]) -> dict[str, Source]:
    train = parts["train"]
    absent = np.flatnonzero(train.class_counts == 0)
    if len(absent):
        grouped = "" if train.grouping is None else f"; all of its samples may be in one group by {train.grouping.by}"
        raise DataError(
            f"the class {train.class_names[absent[0]]!r} without a sample in the training part{grouped}",
            expected="at least one training sample of each class",
            fix="move a sample into the training part, choose a different split.seed, or remove the class",
        )
    return parts


def _split_by_shares(recipe: Recipe, whole: Source) -> dict[str, Source]:
    shares = recipe.data.split or Shares()
    shares_by_name = {"train": shares.train, "validation": shares.validation, "test": shares.test}
    fractions = {name: share for name, share in shares_by_name.items() if share is not None}
    if shares.by is not None:
        whole = whole.grouped(components(grouping_of(whole, shares.by), whole.grouping))
    only = _train_only(recipe, whole)
    rest = np.flatnonzero(~only)
    source: Source = Subset(whole, rest) if only.any() else whole
    parts: dict[str, Source] = dict(zip(fractions, source.split(*fractions.values(), seed=shares.seed), strict=True))
    if only.any():
        positions = whole.positions(parts["train"].ids)
        parts["train"] = Subset(whole, np.sort(np.append(positions, np.flatnonzero(only))))
    return parts


def _train_only(recipe: Recipe, whole: Source) -> NDArray[np.bool_]:
    """Return which samples `data.train_only` keeps in the training part."""
    condition = recipe.data.train_only
    if condition is None:
        return np.zeros(len(whole), dtype=np.bool_)
    where = recipe.at("data.train_only")
    if whole.metadata is None:
        raise DataError(
            f"{where}: {condition!r} for samples without metadata",
            expected="metadata with the columns of the condition",
            fix="add a table of metadata next to the data, or remove train_only",
        )
    try:
        only = matches(whole.metadata, condition)
    except ArgumentError as error:
        raise with_location(recipe, "data.train_only", error) from error
    if not only.any() or only.all():
        raise DataError(
            f"{where}: {condition!r}, which matches {'all' if only.any() else 'none'} of the {len(whole)} samples",
            expected="a condition that matches some samples; the others are split",
            fix="correct the condition, or remove train_only",
        )
    cut = [] if whole.groups is None else np.intersect1d(whole.groups[only], whole.groups[~only]).tolist()
    if cut:
        raise DataError(
            f"{where}: {condition!r}, which matches only some samples of the group {whole.group_names[cut[0]]!r}",
            expected="a condition that matches all samples of a group or none, because no group is in two parts",
            fix="extend the condition to whole groups, or set data.group to a column of smaller groups",
        )
    return only
