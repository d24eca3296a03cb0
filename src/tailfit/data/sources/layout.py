"""The folder layout of `.npy` files, one a record: which file holds what.

root/data/<ID>.npy         the records
root/labels.json           ID to label (also .csv, .tsv, .ndjson, .parquet)
root/class_names.json      names in the order of their codes, where labels are codes (optional)
root/metadata.parquet      a row a sample, found by its IDs (also .csv, .tsv, .json, .ndjson; optional)
root/partition.json        part name to IDs (optional)
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailfit.data.tables.reading import parse_json
from tailfit.errors import RecordError
from tailfit.storage.reading import refuse_link_out

__all__ = ["LABELS", "METADATA", "files_beside", "partition_beside", "records_folder"]

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
    """The folder of `.npy` files in a classic layout: `root` itself, or `root/data`."""
    return next((folder for folder in (root, root / "data") if _has_records(folder)), None)


def files_beside(folder: Path) -> dict[str, Any]:
    """The labels, metadata and class names that go with a folder of records, as arguments of its source.

    In it; or beside it, where it is the layout's `data`: another folder's parent may hold another set's files.
    """
    places = [folder, folder.parent] if folder.name == "data" else [folder]
    names, labels = _first(places, ("class_names.json",)), _first(places, LABELS)
    return {
        "labels": labels,
        "metadata": _first(places, METADATA),
        "class_names": _read_names(names) if names is not None and labels is not None else None,
    }


def partition_beside(root: Path) -> Path | None:
    """The partition that lies in a data set's folder."""
    return _first([root], ("partition.json",))


def _has_records(folder: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        return any(entry.name.endswith(".npy") for entry in entries)
    return False


def _first(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first of these files that there is; nobody named it, so that it must not be a link out of the layout."""
    # lexists: a pipe or a broken link of that name is refused when it is read, rather than passed over.
    found = next((place / name for place in places for name in names if os.path.lexists(place / name)), None)
    if found is not None and found.is_symlink():
        refuse_link_out(found, places[-1])
    return found


def _read_names(path: Path) -> list[str]:
    names = parse_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecordError(f"{path}: not a list of strings", expected="a JSON list of names", fix="check the file")
    return names
