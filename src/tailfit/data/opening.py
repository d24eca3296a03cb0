"""Detection of the format of a data set at a path or URL, and opening of it."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tailfit.data.files.arrow_files import read_arrow
from tailfit.data.files.npy import map_array
from tailfit.data.files.reading import KnownFile
from tailfit.data.files.record_files import ARRAY_RECORD, TFRECORD
from tailfit.data.records.finite import checked_policy
from tailfit.data.remote.fetching import fetch, is_url
from tailfit.data.source import Source
from tailfit.data.sources.arrays import Arrays
from tailfit.data.sources.columns import Columnar
from tailfit.data.sources.hdf5 import HDF5
from tailfit.data.sources.image_folder import SUFFIXES as IMAGES
from tailfit.data.sources.image_folder import ImageFolder
from tailfit.data.sources.layout import companion_files, records_folder
from tailfit.data.sources.npy_folder import NpyFolder
from tailfit.data.sources.npz import Npz
from tailfit.data.sources.packed import Packed
from tailfit.data.sources.parquet import Parquet
from tailfit.data.sources.recordings import Recordings, has_recordings, recording_files
from tailfit.data.sources.records import ArrayRecord, TFRecord
from tailfit.data.sources.stored import Stored
from tailfit.data.sources.table import HuggingFace, Table
from tailfit.data.sources.zarr_store import Zarr
from tailfit.data.tables.labels import UnreadLabel
from tailfit.data.tables.reading import read_table
from tailfit.data.tables.table_files import SUFFIXES as TABLES
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.extras import needed

__all__ = ["open", "open_alike"]

_FORMATS = (
    "a folder written by pack, a folder of .npy files (or with them in data/), tables, record files or images, "
    "a Zarr store or a saved Hugging Face data set; a .parquet, .h5, .npy, .npz, .arrow, .feather, .csv, .tsv, "
    ".ndjson, .tfrecord or .array_record file, or a zipped Zarr store"
)

_LABELS = ("label", "labels", "y")  # options for labels
_RECORDINGS = "recordings"  # not an option of any source: it marks the tables passed to `open_alike`
_Kind = Callable[..., Source]  # the class of a source
_Found = tuple[_Kind, Callable[[Path], Any]]  # and a function from the path to its first argument


def open(
    path: str | PathLike[str],
    *,
    nan: str | None = None,
    cache: str | PathLike[str] | None = None,
    group: str | Sequence[str] | None = None,
    **options: Any,
) -> Source:
    """Open the data set at a path or URL as a source; its format is detected.

    - A folder written by `pack`: `Packed`.
    - A folder of `.npy` files, or the classic layout with them in `data/`: `NpyFolder`. Labels (`labels.json`, `.csv`,
      `.ndjson` or `.parquet`), class names (`class_names.json`) and metadata (`metadata.parquet`, `.csv` or `.json`)
      are found in the same folder, or next to `data/`. Apply a partition with
      `open(root).split(f"{root}/partition.json")`.
    - A folder of tables with a `runs.csv` (or metadata) that has a row for each table, or a folder of `.csv` or
      `.feather` files: `Recordings`, a recording per table. Also any table or folder of tables if one of the options
      `time`, `classes`, `drop`, `resample` and `max_gap` is given.
    - `.parquet` files: `Parquet`; `.arrow`, `.feather`, `.csv`, `.tsv` and `.ndjson` files: `Table`.
    - `.h5` and `.hdf5` files: `HDF5`; a Zarr store, `.zarr` or zipped: `Zarr`.
    - An `.npy` file: `Arrays`, memory-mapped; an `.npz` file: `Npz`.
    - `.tfrecord` files: `TFRecord`; `.array_record` files: `ArrayRecord`.
    - A folder of images, or of folders of images: `ImageFolder`, with labels and metadata as for `.npy` files.
    - A Hugging Face data set saved by `save_to_disk`: `HuggingFace`.

    A URL (`s3://`, `https://`, `hf://` and every other protocol of fsspec) is copied into `cache`, and the copy is
    compared with the server at each call. The package for its protocol must be installed.

    Args:
        path: A folder, a file, or a URL.
        nan: Policy for NaN and infinity in records: `"raise"`, `"warn"` (once) or `"keep"`. Default: `"keep"` for
            recordings, whose missing readings are NaN; else `"raise"`.
        cache: Folder of the copies. Default: `$TAILFIT_CACHE`, or else `tailfit` in the user's cache folder.
        group: Metadata column, or several, whose equal values are a group that no split cuts; see `Source.grouped`.
        **options: Further arguments of the source, for example `label="cause"` for Parquet, `size=(64, 64)` for images,
            `strip=True` to strip whitespace around class names, or `ragged=True` for `.npy` files.
    Raises:
        ArgumentError: If `path` is not a path, or the source does not accept an option.
        DataError: If there is no data set in a known format; `RecordError` if a file can't be read.
        PackageError: If the package for the format is not installed; the message names it.

    >>> import tempfile, numpy as np, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", np.eye(2), ["leak", "ok"])
    ...     source = open(f"{folder}/pumps")
    ...     source, source.read([1]).tolist()
    (<NpyFolder: 2 samples, 2 classes>, [[0.0, 1.0]])
    """
    source = _opened(path, nan, cache, options)
    return source if group is None else source.grouped(group)


def open_alike(
    path: str | PathLike[str],
    *,
    nan: str,
    options: Mapping[str, Any],
    labels: bool = True,
    channels: Sequence[str] | None = None,
    recordings: bool = False,
) -> Source:
    """Open a data set as `open` does, but ignore options that its source does not accept.

    For data that correspond to an earlier data set, possibly in a different format.

    Args:
        path: See `open`.
        nan: See `open`.
        options: Options of the earlier data set.
        labels: Whether labels are read. Otherwise they may be missing, incomplete or invalid.
        channels: Names of the earlier data set's channels, with which the columns of a table are chosen.
        recordings: Whether tables are recordings, which can't be seen without a column of labels.

    >>> import tempfile, numpy as np, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.pack(tailfit.data.Arrays(np.eye(2)), f"{folder}/packed")
    ...     open_alike(f"{folder}/packed", nan="raise", options={"label": "cause"})
    <Packed: 2 samples, unlabelled>
    """

    def adapt(kind: _Kind, options: dict[str, Any]) -> dict[str, Any]:
        if channels is not None and (_is(kind, Columnar) or kind is Recordings):
            options = {"columns": list(channels), **options}
        return options if labels else _without_labels(kind, options)

    return _opened(path, nan, None, {**options, _RECORDINGS: recordings or None}, adapt)


def _is(kind: _Kind, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _without_labels(kind: _Kind, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which a source reads no labels."""
    kept = {name: value for name, value in options.items() if name != "class_names"}
    if _is(kind, Columnar):
        return {**kept, "label": UnreadLabel(kept.get("label") or "")}
    if kind is Recordings:
        kept = {name: value for name, value in kept.items() if name not in ("classes", "drop")}
        return {**kept, "label": UnreadLabel(kept.get("label") or "")}
    if _is(kind, Stored):
        return {**kept, "y": UnreadLabel(kept.get("y") or "")}
    if kind in (NpyFolder, ImageFolder):
        return {**kept, "labels": None, "label": None, "metadata": None, "id": None}
    return dict(options)


def _opened(
    path: Any,
    nan: str | None,
    cache: str | PathLike[str] | None,
    given: Mapping[str, Any],
    adapt: Callable[[_Kind, dict[str, Any]], dict[str, Any]] | None = None,
) -> Source:
    if nan is not None:
        checked_policy(nan)
    if not isinstance(path, str | PathLike):
        raise ArgumentError(
            f"path of type {type(path).__name__}",
            expected="a path or URL",
            fix="pass a path, or wrap arrays as tailfit.data.Arrays(x, y)",
        )
    where = fetch(fspath(path), cache) if is_url(path) else Path(fspath(path))
    found = _in_folder(where, given) if where.is_dir() else _in_file(where, given)
    if found is None:
        raise DataError(
            f"{where}: {'no data set in a known format' if where.exists() else 'no such file or folder'}",
            expected=_FORMATS,
            fix="check the path, or construct the source directly, for example tailfit.data.HDF5(path, ...)",
        )
    kind, prepare = found
    accepted = list(inspect.signature(kind).parameters)[1:]
    unknown = sorted(given.keys() - set(accepted))
    if unknown and adapt is None:
        raise ArgumentError(
            f"{unknown[0]}={given[unknown[0]]!r} for {where}",
            expected=f"options of {kind.__name__}, which reads this data set: {', '.join(accepted)}",
            fix=_fix_of(unknown[0], accepted),
        )
    options = {name: value for name, value in given.items() if name in accepted}
    if "nan" in accepted and nan is not None:
        options["nan"] = nan
    first = prepare(where)
    if kind in (NpyFolder, ImageFolder):
        options = {**companion_files(first), **options}
    if adapt is not None:
        options = adapt(kind, options)
    return kind(first, **options)


def _fix_of(unknown: str, accepted: Sequence[str]) -> str:
    """Return the fix for an unknown option; sources call their labels by different names."""
    others = [f"{name}=" for name in _LABELS if name in accepted] if unknown in _LABELS else []
    return f"drop {unknown}=" + (f", or pass the labels as {' or '.join(others)}" if others else "")


def _in_folder(root: Path, given: Mapping[str, Any]) -> _Found | None:
    # lexists, so that a pipe of such a name is refused when it is read, not skipped.
    if os.path.lexists(root / "pack.json"):
        return Packed, Path
    if any(os.path.lexists(root / name) for name in ("zarr.json", ".zgroup", ".zarray")):
        return Zarr, Path
    if (root / "state.json").is_file() and (root / "dataset_info.json").is_file():
        return HuggingFace, _saved_dataset
    if (root / "dataset_dict.json").is_file():
        splits = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise DataError(
            f"{root}: a Hugging Face data set with the splits {splits}",
            expected="a single split",
            fix=f"open one split, {root}/<split>",
        )
    folder = records_folder(root)
    if folder is not None:
        return NpyFolder, lambda _: folder
    names = [entry.name.lower() for entry in root.iterdir()]
    if _for_recordings(given) or has_recordings(root):
        return Recordings, Path
    for kind, suffixes in ((Parquet, ".parquet"), (TFRecord, TFRECORD), (ArrayRecord, ARRAY_RECORD)):
        if any(name.endswith(suffixes) for name in names if name not in ("labels.parquet", "metadata.parquet")):
            return kind, Path
    inside = [entry for entry in root.iterdir() if entry.is_dir()]
    if _has_images(names) or any(_has_images(os.listdir(folder)) for folder in inside):
        return ImageFolder, Path
    return (Recordings, Path) if recording_files(root) else None


def _for_recordings(given: Mapping[str, Any]) -> bool:
    return any(given.get(name) is not None for name in (_RECORDINGS, "time", "classes", "drop", "resample", "max_gap"))


def _in_file(path: Path, given: Mapping[str, Any]) -> _Found | None:
    id = given.get("id")
    if _for_recordings(given) and path.suffix.lower() in TABLES and path.exists():
        return Recordings, Path
    text = (Table, lambda path: read_table(path, text=() if id is None else (id,)))
    by_suffix: dict[str, _Found] = {
        **dict.fromkeys((".parquet", ".pq"), (Parquet, Path)),
        **dict.fromkeys((".h5", ".hdf5", ".hdf"), (HDF5, Path)),
        **dict.fromkeys((".arrow", ".feather", ".ipc"), (Table, _arrow_table)),
        **dict.fromkeys(TFRECORD, (TFRecord, Path)),
        **dict.fromkeys(ARRAY_RECORD, (ArrayRecord, Path)),
        **dict.fromkeys((".csv", ".tsv", ".ndjson", ".jsonl"), text),
        ".npy": (Arrays, lambda path: map_array(str(path))),
        ".npz": (Npz, Path),
        ".zip": (Zarr, Path),
    }
    return by_suffix.get(path.suffix.lower()) if path.exists() else None


def _has_images(names: Iterable[str]) -> bool:
    return any(name.lower().endswith(IMAGES) for name in names)


def _arrow_table(path: Path) -> Any:
    return read_arrow(KnownFile.of(path))


def _saved_dataset(path: Path) -> Any:
    datasets = needed("datasets", "huggingface", str(path))
    try:
        return datasets.load_from_disk(path)
    except Exception as error:  # datasets raises errors of many classes
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(
            f"{path}: {what}", expected="a data set written by save_to_disk", fix="save the data set again"
        ) from error
