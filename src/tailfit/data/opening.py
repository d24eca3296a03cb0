"""What lies at a path, told by looking at it; what lies behind a URL, copied first."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from tailfit.data.files.memory import available_memory
from tailfit.data.files.npy import map_array
from tailfit.data.files.reading import KnownFile
from tailfit.data.files.record_files import ARRAY_RECORD, TFRECORD
from tailfit.data.records.finite import checked_policy
from tailfit.data.remote.fetching import fetched, is_url
from tailfit.data.source import Source
from tailfit.data.sources.arrays import Arrays
from tailfit.data.sources.hdf5 import HDF5
from tailfit.data.sources.image_folder import SUFFIXES as IMAGES
from tailfit.data.sources.image_folder import ImageFolder
from tailfit.data.sources.layout import companion_files, records_folder
from tailfit.data.sources.npy_folder import NpyFolder
from tailfit.data.sources.packed import Packed
from tailfit.data.sources.parquet import Parquet
from tailfit.data.sources.records import ArrayRecord, TFRecord
from tailfit.data.sources.table import HuggingFace, Table
from tailfit.data.sources.zarr_store import Zarr
from tailfit.data.tables.reading import read_table
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.extras import needed

__all__ = ["open", "open_alike"]

_KINDS = (
    "a folder that pack wrote, of .npy files (or with them in data/), of .parquet files, record files or images, "
    "a Zarr store or a saved Hugging Face data set; a .parquet, .h5, .npy, .arrow, .feather, .csv, .tsv, .ndjson, "
    ".tfrecord or .array_record file, or a zipped Zarr store"
)


def open(
    path: str | PathLike[str], *, nan: str = "raise", cache: str | PathLike[str] | None = None, **options: Any
) -> Source:
    """The source at a path or URL, its kind recognised by what lies there.

    - a folder that `pack` wrote: `Packed`;
    - a folder of `.npy` files, or the classic layout with them in `data/`: `NpyFolder`, its labels (`labels.json`,
      `.csv`, `.ndjson` or `.parquet`), class names (`class_names.json`) and metadata (`metadata.parquet`, `.csv` or
      `.json`) found beside the records' folder or in it. A partition is applied by
      `open(root).split(f"{root}/partition.json")`;
    - `.parquet` files: `Parquet`; `.arrow`, `.feather`, `.csv`, `.tsv` and `.ndjson` files: `Table`;
    - `.h5` and `.hdf5` files: `HDF5`; a Zarr store, `.zarr` or zipped: `Zarr`; an `.npy` file: `Arrays`, mapped;
    - `.tfrecord` files: `TFRecord`; `.array_record` files: `ArrayRecord`;
    - a folder of images, or of folders of images: `ImageFolder`, with labels and metadata as of `.npy` files;
    - what a Hugging Face data set's `save_to_disk` wrote: `HuggingFace`.

    A URL (`s3://`, `https://`, `hf://` and all that fsspec knows) is copied into `cache`, and compared with what is
    there each time; the packages of its protocol must be installed.

    Args:
        path: A folder, a file, or a URL.
        nan: What to do with NaN or infinity in a record that is read: `"raise"`, `"warn"` (once) or
            `"keep"`.
        cache: Folder of the copies; `$TAILFIT_CACHE` without it, or `tailfit` in the user's cache folder.
        **options: What else the source takes, e.g. `label="cause"` of Parquet, `size=(64, 64)` of images,
            `strip=True` to drop white space around names of classes, or
            `ragged=True` of `.npy` files.
    Raises:
        ArgumentError: for what is no path, or options that the source does not take.
        DataError: if nothing known lies there; `RecordError` names a file that can't be read.
        PackageError: naming what to install, where a format's package is missing.

    >>> import tempfile, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", np.eye(2), ["leak", "ok"])
    ...     source = open(f"{folder}/pumps")
    ...     source, source.read([1]).tolist()
    (<NpyFolder: 2 samples, 2 classes>, [[0.0, 1.0]])
    """
    return _opened(path, nan, cache, options)


def open_alike(path: str | PathLike[str], *, nan: str, options: Mapping[str, Any]) -> Source:
    """As `open`, with those of the options that what lies there takes: data like others, perhaps in another form.

    >>> import tempfile, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.pack(tailfit.data.Arrays(np.eye(2)), f"{folder}/packed")
    ...     open_alike(f"{folder}/packed", nan="raise", options={"label": "cause"})
    <Packed: 2 samples, unlabelled>
    """
    return _opened(path, nan, None, options, strict=False)


def _opened(
    path: Any, nan: str, cache: str | PathLike[str] | None, given: Mapping[str, Any], *, strict: bool = True
) -> Source:
    checked_policy(nan)
    if not isinstance(path, str | PathLike):
        raise ArgumentError(
            f"path of type {type(path).__name__}",
            expected="a path or URL",
            fix="wrap arrays: tailfit.data.Arrays(x, y)",
        )
    where = fetched(fspath(path), cache) if is_url(path) else Path(fspath(path))
    found = _in_folder(where) if where.is_dir() else _in_file(where, given.get("id"))
    if found is None:
        raise DataError(
            f"{where}: {'nothing known lies there' if where.exists() else 'no such file or folder'}",
            expected=_KINDS,
            fix="check the path, or make the source yourself, e.g. tailfit.data.HDF5(path, ...)",
        )
    kind, prepare = found
    known = list(inspect.signature(kind).parameters)[1:]
    unknown = sorted(given.keys() - set(known))
    if unknown and strict:
        raise ArgumentError(
            f"{unknown[0]}={given[unknown[0]]!r} for {where}",
            expected=", ".join(known),
            fix=f"leave it out: what lies there is read by {kind.__name__}, which does not take it",
        )
    options = {name: value for name, value in given.items() if name in known}
    if "nan" in known:
        options["nan"] = nan
    first = prepare(where)
    if kind in (NpyFolder, ImageFolder):
        options = {**companion_files(first), **options}
    return kind(first, **options)


_Found = tuple[Callable[..., Source], Callable[[Path], Any]]  # a source, and what makes its first argument of the path


def _in_folder(root: Path) -> _Found | None:
    # lexists: a pipe in the place of such a file is refused when it is read, rather than passed over.
    if os.path.lexists(root / "pack.json"):
        return Packed, Path
    if any(os.path.lexists(root / name) for name in ("zarr.json", ".zgroup", ".zarray")):
        return Zarr, Path
    if (root / "state.json").is_file() and (root / "dataset_info.json").is_file():
        return HuggingFace, _saved_dataset
    if (root / "dataset_dict.json").is_file():
        splits = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        raise DataError(f"{root}: the splits {splits}", expected="one data set", fix=f"open one, {root}/<split>")
    folder = records_folder(root)
    if folder is not None:
        return NpyFolder, lambda _: folder
    names = [entry.name.lower() for entry in root.iterdir()]
    for kind, suffixes in ((Parquet, ".parquet"), (TFRecord, TFRECORD), (ArrayRecord, ARRAY_RECORD)):
        if any(name.endswith(suffixes) for name in names if name not in ("labels.parquet", "metadata.parquet")):
            return kind, Path
    inside = [entry for entry in root.iterdir() if entry.is_dir()]
    if _has_images(names) or any(_has_images(os.listdir(folder)) for folder in inside):
        return ImageFolder, Path
    return None


def _in_file(path: Path, id: str | None) -> _Found | None:
    text = (Table, lambda path: read_table(path, text=() if id is None else (id,)))
    by_suffix: dict[str, _Found] = {
        **dict.fromkeys((".parquet", ".pq"), (Parquet, Path)),
        **dict.fromkeys((".h5", ".hdf5", ".hdf"), (HDF5, Path)),
        **dict.fromkeys((".arrow", ".feather", ".ipc"), (Table, _arrow_table)),
        **dict.fromkeys(TFRECORD, (TFRecord, Path)),
        **dict.fromkeys(ARRAY_RECORD, (ArrayRecord, Path)),
        **dict.fromkeys((".csv", ".tsv", ".ndjson", ".jsonl"), text),
        ".npy": (Arrays, lambda path: map_array(str(path))),
        ".zip": (Zarr, Path),
    }
    return by_suffix.get(path.suffix.lower()) if path.exists() else None


def _has_images(names: Iterable[str]) -> bool:
    return any(name.lower().endswith(IMAGES) for name in names)


def _arrow_table(path: Path) -> Any:
    pa, ipc = needed("pyarrow", "parquet", str(path)), needed("pyarrow.ipc", "parquet", str(path))
    file = KnownFile.of(path)
    if file.size > available_memory():
        raise DataError(
            f"{path}: {file.size} bytes", expected="a file that fits into memory", fix="write it as Parquet"
        )
    try:
        with pa.OSFile(file.path) as opened:  # read, not mapped
            try:
                table = ipc.open_file(opened).read_all()
            except pa.ArrowInvalid:
                opened.seek(0)
                table = ipc.open_stream(opened).read_all()
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise RecordError(f"{path}: {what}", expected="a whole Arrow file", fix="write it again") from error
    return table


def _saved_dataset(path: Path) -> Any:
    datasets = needed("datasets", "huggingface", str(path))
    try:
        return datasets.load_from_disk(path)
    except Exception as error:  # of many kinds
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path}: {what}", expected="what save_to_disk wrote", fix="write it again") from error
