"""The classic layout on disk: what lies where, and how it is written, whole or not at all.

root/data/<ID>.npy         the records
root/labels.json           ID to label (also .csv, .tsv, .ndjson, .parquet)
root/class_names.json      names in the order of their codes, where labels are codes (optional)
root/metadata.parquet      a row a sample, found by its IDs (also .csv, .tsv, .json, .ndjson; optional)
root/partition.json        part name to IDs (optional)
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tailfit.data.arrays import Arrays
from tailfit.data.files import refuse_link_out
from tailfit.data.ids import check_id
from tailfit.data.ragged import Ragged
from tailfit.data.read_tables import parse_json
from tailfit.data.source import Source
from tailfit.errors import ArgumentError, RecordError

__all__ = ["files_beside", "partition_beside", "records_folder", "save_npy_folder"]

_LABELS = ("labels.json", "labels.csv", "labels.tsv", "labels.ndjson", "labels.jsonl", "labels.parquet")
_METADATA = (
    "metadata.parquet",
    "metadata.csv",
    "metadata.tsv",
    "metadata.json",
    "metadata.ndjson",
    "metadata.jsonl",
)
_OURS = {"data", "class_names.json", "partition.json", *_LABELS, *_METADATA}


def records_folder(root: Path) -> Path | None:
    """The folder of `.npy` files in a classic layout: `root` itself, or `root/data`."""
    return next((folder for folder in (root, root / "data") if _has_records(folder)), None)


def files_beside(folder: Path) -> dict[str, Any]:
    """The labels, metadata and class names that go with a folder of records, as arguments of its source.

    In it; or beside it, where it is the layout's `data`: another folder's parent may hold another set's files.
    """
    places = [folder, folder.parent] if folder.name == "data" else [folder]
    names, labels = _first(places, ("class_names.json",)), _first(places, _LABELS)
    return {
        "labels": labels,
        "metadata": _first(places, _METADATA),
        "class_names": _read_names(names) if names is not None and labels is not None else None,
    }


def partition_beside(root: Path) -> Path | None:
    """The partition that lies in a data set's folder."""
    return _first([root], ("partition.json",))


def save_npy_folder(
    root: str | PathLike[str],
    x: Any,
    labels: Any = None,
    ids: Sequence[str] | None = None,
    metadata: pl.DataFrame | None = None,
    partition: Mapping[str, Sequence[str]] | None = None,
    class_names: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write arrays as the classic layout, which `open` reads.

    All is checked, then written to a folder beside the target, which is renamed at the end: after an error, or
    Ctrl-C, the target is as it was.

    Args:
        root: The folder to be made.
        x: Array `[n, ...]`, or a `Ragged`; `root/data/<ID>.npy` gets `x[i]`.
        labels: As in `Arrays`; written as class names if they were names, else as codes or rows.
        ids: n names; "0", "1", ... without it.
        metadata: polars DataFrame, as in `Arrays`.
        partition: Part name to IDs.
        class_names: Names of the classes in the order of their codes.
        overwrite: Whether an existing `root` is replaced, provided that it holds such a layout and nothing else.
    Raises:
        ArgumentError: if `root` exists, or is not ours to replace.
        DataError: if IDs, labels, metadata and partition do not match.
    """
    target = Path(os.path.abspath(fspath(root)))
    if target.exists() or target.is_symlink():
        _check_replaceable(target, overwrite)
    x = x if isinstance(x, Ragged) else np.asarray(x)
    source = Arrays(x, labels, ids, metadata, class_names=class_names, nan="keep")
    for name in source.ids:
        check_id(name)
    if partition is not None:
        source.split(partition)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    fresh.mkdir()
    try:
        _write(fresh, x, source, metadata is not None, partition)
        if target.exists():
            # A folder can't be renamed onto a full one: the old one steps aside, and comes back on an error.
            aside = fresh.with_name(f"{fresh.name}.old")
            target.rename(aside)
            try:
                fresh.rename(target)
            except BaseException:
                aside.rename(target)
                raise
            shutil.rmtree(aside)
        else:
            fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _write(
    root: Path, x: Any, source: Source, with_metadata: bool, partition: Mapping[str, Sequence[str]] | None
) -> None:
    (root / "data").mkdir()
    for name, record in zip(source.ids, x, strict=True):
        np.save(root / "data" / f"{name}.npy", record, allow_pickle=False)
    if source.labels is not None:
        # Codes as names, where there are names: what a reader of labels.json wants to see.
        named = source.class_names != tuple(map(str, range(len(source.class_names))))
        rows = source.labels.tolist()
        if source.label_kind == "codes" and named:
            rows = [source.class_names[code] for code in rows]
        _write_json(root / "labels.json", dict(zip(source.ids, rows, strict=True)))
        _write_json(root / "class_names.json", list(source.class_names))
    if with_metadata and source.metadata is not None:
        source.metadata.write_parquet(root / "metadata.parquet")
    if partition is not None:
        _write_json(root / "partition.json", {name: list(ids) for name, ids in partition.items()})


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not overwrite:
        raise ArgumentError(
            f"{target}, which exists",
            expected="a folder that does not exist yet",
            fix="choose another, or pass overwrite=True",
        )
    inside = {entry.name for entry in target.iterdir()} if target.is_dir() and not target.is_symlink() else {"?"}
    records = target / "data"
    foreign = not inside <= _OURS or any(not entry.name.endswith(".npy") for entry in _entries(records))
    if foreign:
        raise ArgumentError(
            f"{target}, which holds more than records, labels, metadata and a partition",
            expected="overwrite=True for a folder that save_npy_folder wrote",
            fix="move it away yourself",
        )


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


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
