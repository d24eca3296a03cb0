"""Atomic writer of arrays as a folder of `.npy` files; see `tailfit.data.sources.layout`."""

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

from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Source
from tailfit.data.sources.arrays import Arrays
from tailfit.data.sources.layout import LABELS, METADATA
from tailfit.data.tables.ids import check_id
from tailfit.errors import ArgumentError
from tailfit.storage.writing import write_text

__all__ = ["save_npy_folder"]

_LAYOUT_FILES = {"data", "class_names.json", "partition.json", *LABELS, *METADATA}


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
    """Write arrays in the classic layout, which `open` reads.

    Everything is checked and written to a temporary folder next to the target, which is renamed at the end. After an
    error or Ctrl-C the target is unchanged.

    Args:
        root: Folder to create.
        x: Array `[n, ...]`, or a `Ragged`; `x[i]` is written to `root/data/<ID>.npy`.
        labels: See `Arrays`. Written as class names if the classes have names, else as class indices or rows.
        ids: n unique IDs; "0", "1", ... by default.
        metadata: polars DataFrame; see `Arrays`.
        partition: IDs of each part.
        class_names: Class names in the order of the class indices.
        overwrite: Whether to replace an existing `root`, which must contain only files of this layout.
    Raises:
        ArgumentError: If `root` exists, or contains other files with `overwrite=True`.
        DataError: If IDs, labels, metadata and partition do not match.

    >>> import tempfile, tailfit
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_npy_folder(f"{folder}/pumps", np.eye(2), ["leak", "ok"], ids=["r1", "r2"])
    ...     tailfit.data.open(f"{folder}/pumps").ids
    ('r1', 'r2')
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
            # A folder can't be renamed onto a non-empty one, so rename the old one first, and back on an error.
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
        # Write names instead of class indices if there are any, to make labels.json readable.
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
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _check_replaceable(target: Path, overwrite: bool) -> None:
    if not overwrite:
        raise ArgumentError(
            f"the existing path {target}",
            expected="a folder that does not exist yet",
            fix="choose a different path, or pass overwrite=True",
        )
    inside = {entry.name for entry in target.iterdir()} if target.is_dir() and not target.is_symlink() else {"?"}
    records = target / "data"
    foreign = not inside <= _LAYOUT_FILES or any(not entry.name.endswith(".npy") for entry in _entries(records))
    if foreign:
        raise ArgumentError(
            f"overwrite=True for {target}, which contains other files than records, labels, metadata and a partition",
            expected="a folder written by save_npy_folder",
            fix="move or delete the folder yourself, or choose a different path",
        )


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
