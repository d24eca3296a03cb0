"""The files in the folder layout with one `.npy` file per record.

root/data/<ID>.npy         records
root/labels.json           label of each ID (also .csv, .tsv, .ndjson, .parquet)
root/class_names.json      class names in the order of the class indices, if labels are class indices (optional)
root/metadata.parquet      one row per sample, matched by ID (also .csv, .tsv, .json, .ndjson; optional)
root/partition.json        IDs of each part (optional)
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailfit.data.tables.reading import parse_json
from tailfit.errors import RecordError
from tailfit.storage.reading import refuse_link_out

__all__ = ["LABELS", "METADATA", "companion_files", "metadata_file", "partition_file", "records_folder"]

LABELS = ("labels.json", "labels.csv", "labels.tsv", "labels.ndjson", "labels.jsonl", "labels.parquet")
METADATA = (
    "metadata.parquet",
    "metadata.csv",
    "metadata.tsv",
    "metadata.json",
    "metadata.ndjson",
    "metadata.jsonl",
)


def records_folder(root: Path) -> Path | None:
    """Return the folder with `.npy` files, `root` itself or `root/data`; None if neither has any."""
    return next((folder for folder in (root, root / "data") if _has_records(folder)), None)


def companion_files(folder: Path) -> dict[str, Any]:
    """Return the labels, metadata and class names that belong to a folder of records, as arguments of its source.

    They are searched in the folder, and in its parent only if the folder is called `data`; the parent of a differently
    named folder may contain the files of a different data set.
    """
    places = [folder, folder.parent] if folder.name == "data" else [folder]
    names, labels = _first(places, ("class_names.json",)), _first(places, LABELS)
    return {
        "labels": labels,
        "metadata": _first(places, METADATA),
        "class_names": _read_names(names) if names is not None and labels is not None else None,
    }


def partition_file(root: Path) -> Path | None:
    """Return the path of the partition in a data set's folder, or None."""
    return _first([root], ("partition.json",))


def metadata_file(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the path of the table of metadata in a folder: the first of `names`, or of the usual names; or None."""
    return _first([folder], (*names, *METADATA))


def _has_records(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return any(entry.name.endswith(".npy") for entry in entries)
    return False


def _first(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    """Return the first of these files that exists; refuse a link out of the layout, since the user didn't name it."""
    # lexists, so that a pipe or a broken link of that name is refused when it is read, not skipped.
    found = next((place / name for place in places for name in names if os.path.lexists(place / name)), None)
    if found is not None and found.is_symlink():
        refuse_link_out(found, places[-1])
    return found


def _read_names(path: Path) -> list[str]:
    names = parse_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecordError(
            f"{path}: not a list of strings", expected="a JSON list of class names", fix="correct the file"
        )
    return names
