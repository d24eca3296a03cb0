"""A folder of records, one `.npy` file each, as a source: the classic layout `data/<ID>.npy`."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.finite import Look
from tailfit.data.metadata import read_table
from tailfit.data.npy import Header, read_header, read_row
from tailfit.data.ragged import Ragged
from tailfit.data.source import Source
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.labels import encode

__all__ = ["Labels", "NpyFolder", "check_id", "label_table", "match_files", "read_json"]

Labels = Mapping[str, Any] | pl.DataFrame | str | PathLike[str]


class NpyFolder(Source):
    """The records `folder/<ID>.npy`, of one shape and type, read by the batch straight from the files.

    The folder is listed once, at construction, which also checks IDs against labels; the records themselves are
    checked as they are read. Order and codes come from the IDs' order in `labels`, or the sorted IDs without.

    Args:
        folder: Where the files are. Other files than `.npy` are ignored.
        labels: ID to label, one for each file: a dict; a JSON file of one; a polars DataFrame or a CSV or Parquet
            file of two columns, the ID's called `id` or first. A label is a code, a class name, or a list of
            C indicators or probabilities. Without `labels` the source is unlabelled.
        metadata: polars DataFrame, or a CSV, JSON or Parquet file, with a column `id`.
        class_names: Names of the classes in the order of their codes.
        nan: What to do with NaN or infinity in a record read: `"raise"`, `"warn"` (once) or `"keep"`.
        ragged: Whether records may differ in their first axis, the steps. Then `lengths` looks into every file once.
    Shapes: `read(indices)` gives `[len(indices), *record]` in the files' type and units, native byte order; ragged, a
        `Ragged` of the records.
    Raises:
        DataError: if files and labels do not match, or an ID is not a plain name (separators, `..`, a drive).
        RecordError: beginning with the file's path: missing, empty, truncated, too long, pickled, of another
            shape or type than the first file, with a NaN, unreadable, or a link out of the folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("r1", "r2"):
    ...         np.save(f"{folder}/{name}.npy", np.full(2, float(name[1])))
    ...     source = NpyFolder(folder, {"r2": "leak", "r1": "ok"})
    ...     source.ids, source.labels.tolist(), source.read([1, 0]).tolist()
    (('r2', 'r1'), [0, 1], [[1.0, 1.0], [2.0, 2.0]])
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        labels: Labels | None = None,
        metadata: pl.DataFrame | str | PathLike[str] | None = None,
        class_names: Sequence[str] | None = None,
        *,
        nan: str = "raise",
        ragged: bool = False,
    ) -> None:
        self._look: Final = Look(nan, RecordError)
        self._folder: Final = os.path.abspath(fspath(folder))
        if labels is None and class_names is not None:
            raise ArgumentError("class_names without labels", expected="both, or none", fix="pass labels")
        found, self._links = _listed(self._folder)
        encoded = None
        if labels is None:
            ids: tuple[str, ...] = tuple(sorted(found))
        else:
            ids, values = label_table(labels)
            for name in ids:
                check_id(name)
            match_files(ids, found, self._folder, ".npy")
            encoded = encode(values, class_names=class_names, ids=ids)
        if metadata is not None and not isinstance(metadata, pl.DataFrame):
            metadata = read_table(metadata)
        super().__init__(ids, encoded, metadata)
        self._header: Header | None = None
        self.ragged = ragged
        # Of a ragged folder: steps of each record that was looked at, else -1; and the header of so many.
        self._steps: Final = np.full(len(ids) if ragged else 0, -1, dtype=np.int64)
        self._headers: Final[dict[int, Header]] = {}

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """As `Source.lengths`.

        Raises:
            RecordError: naming a file that can't be read.
        """
        if not self.ragged:
            return None
        for position in np.flatnonzero(self._steps < 0).tolist():
            self._header_of(position)
        return self._steps.copy()

    def _path(self, position: int) -> str:
        name = self.ids[position]
        return self._links.get(name) or f"{self._folder}{os.sep}{name}.npy"

    def _reference(self) -> tuple[Header, str]:
        """The first file's header, which all others must share. Two threads may both read it: it is the same."""
        path = self._path(0)
        if self._header is None:
            self._header = read_header(path)
        return self._header, path

    def _header_of(self, position: int) -> Header:
        """Of a record of any length."""
        steps = int(self._steps[position])
        if steps < 0:
            (reference, reference_path), path = self._reference(), self._path(position)
            header = read_header(path)
            alike = header.shape[1:] == reference.shape[1:] and header.dtype.newbyteorder(
                "="
            ) == reference.dtype.newbyteorder("=")
            if not header.shape or not alike:
                raise RecordError(
                    f"{path}: {header}",
                    expected=f"{reference} as in the first file, {reference_path}, but for the first axis",
                    fix="bring all records to one type, and one shape but for their steps",
                )
            steps = header.shape[0]
            # The length last: another thread that sees it finds the header.
            self._headers.setdefault(steps, header)
            self._steps[position] = steps
        return self._headers[steps]

    def _read_ragged(self, indices: NDArray[np.int64]) -> Ragged:
        headers = [self._header_of(position) for position in indices.tolist()]
        lengths = np.array([header.shape[0] for header in headers], dtype=np.int64)
        reference = self._reference()[0]
        steps = np.empty((int(lengths.sum()), *reference.shape[1:]), reference.dtype.newbyteorder("="))
        batch = Ragged(steps, lengths)
        for row, position in enumerate(indices.tolist()):
            path = self._path(position)
            read_row(path, batch[row], headers[row], path)
        return batch

    def _read(self, indices: NDArray[np.int64]) -> Any:
        if not len(self):
            return Ragged(np.zeros(0), []) if self.ragged else np.zeros(0)
        if self.ragged:
            ragged = self._read_ragged(indices)
            self._look.check(indices, ragged, self._path)
            return ragged
        reference, reference_path = self._reference()
        batch = np.empty((len(indices), *reference.shape), reference.dtype.newbyteorder("="))
        for row, position in enumerate(indices.tolist()):
            # batch[row, ...] is an array even where records are scalars.
            read_row(self._path(position), batch[row, ...], reference, reference_path)
        self._look.check(indices, batch, self._path)
        return batch


def check_id(name: object) -> None:
    """Refuse an ID that is not a plain file name: joined to a folder, it must stay in it.

    >>> check_id("pump-7 2024.01")
    >>> check_id("../x")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received ID '../x'. Expected ...
    """
    plain = isinstance(name, str) and name not in ("", ".", "..") and not re.search(r"[/\\\0]|^[A-Za-z]:", name)
    if not plain:
        raise DataError(
            f"ID {name!r}",
            expected="a non-empty name without path separators, drive or NUL",
            fix="name the records without folders; IDs are strings, '7' and not 7",
        )


def read_json(path: str | PathLike[str]) -> dict[str, Any]:
    """A JSON file of one object whose keys are all different.

    Raises:
        RecordError: naming the file, and the key that stands there twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            keys = [key for key, _ in pairs]
            again = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"the key {again!r} twice")
        return table

    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file, object_pairs_hook=unique)
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{fspath(path)}: {error}", expected="a JSON object", fix="check the file") from error
    if not isinstance(content, dict):
        raise RecordError(
            f"{fspath(path)}: a JSON {type(content).__name__}",
            expected="a JSON object, ID to label",
            fix="write a dict",
        )
    return content


def _listed(folder: str) -> tuple[set[str], dict[str, str]]:
    """IDs in the folder, and the targets of those that are links. One listing, no call a file."""
    found: set[str] = set()
    links: dict[str, str] = {}
    root = os.path.realpath(folder)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(".npy"):
                    continue
                name = entry.name[:-4]
                check_id(name)
                found.add(name)
                if entry.is_symlink():
                    target = os.path.realpath(entry.path)
                    if os.path.commonpath([root, target]) != root:
                        raise RecordError(
                            f"{entry.path}: a link out of the folder, to {target}",
                            expected="files within the folder",
                            fix="copy the file into the folder",
                        )
                    links[name] = target
                elif not entry.is_file(follow_symlinks=False):
                    raise RecordError(
                        f"{entry.path}: not a regular file", expected="one .npy file an ID", fix="remove it"
                    )
    except NotADirectoryError:
        raise DataError(f"{folder}: a file", expected="a folder of .npy files", fix="pass its folder") from None
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder", expected="a folder of .npy files", fix="check the path") from None
    return found, links


def label_table(labels: Labels) -> tuple[tuple[str, ...], Any]:
    """IDs and their labels, in the order in which they stand in a dict, a table or a file."""
    if not isinstance(labels, Mapping | pl.DataFrame | str | PathLike):
        raise ArgumentError(
            f"labels of type {type(labels).__name__}",
            expected="a dict of ID to label, a polars DataFrame, or the path of a .json, .csv or .parquet file",
            fix="pass dict(zip(ids, labels))",
        )
    if isinstance(labels, Mapping):
        table: Mapping[Any, Any] = labels
    elif not isinstance(labels, pl.DataFrame) and Path(fspath(labels)).suffix.lower() == ".json":
        table = read_json(labels)
    else:
        return _label_columns(labels)
    for name in table:
        if not isinstance(name, str):
            check_id(name)
    return tuple(table), _stacked(list(table.values()))


def _label_columns(labels: pl.DataFrame | str | PathLike[str]) -> tuple[tuple[str, ...], Any]:
    frame = labels if isinstance(labels, pl.DataFrame) else read_table(labels, first_is_id=True)
    if frame.width != 2:
        raise DataError(
            f"labels with the columns {frame.columns}",
            expected="two columns: the ID and the label",
            fix="select them, e.g. frame.select('id', 'cause')",
        )
    id_column = "id" if "id" in frame.columns else frame.columns[0]
    ids = frame[id_column].cast(pl.String)
    values = frame.drop(id_column).to_series()
    for what, column in (("an empty ID", ids), ("an empty label", values)):
        if column.null_count():
            row = int(np.argmax(column.is_null().to_numpy()))
            raise DataError(
                f"labels with {what} in row {row} (ID {ids[row]!r})",
                expected="an ID and a label in each row",
                fix="fill in or drop the row",
            )
    repeated = ids.filter(ids.is_duplicated())
    if len(repeated):
        raise DataError(f"labels with ID {repeated[0]!r} twice", expected="one label an ID", fix="drop one of the rows")
    return tuple(ids.to_list()), _stacked(values.to_list())


def _stacked(values: list[Any]) -> Any:
    """A list of labels as an array; mixed or ragged ones as objects, for `encode` to say what is wrong."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0, dtype=object)
    if len(array) == len(values) and not (
        array.dtype.kind == "U" and not all(isinstance(value, str) for value in values)
    ):
        return array
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def match_files(ids: Sequence[str], found: set[str], folder: str, ending: str = "") -> None:
    """Refuse labels without a file, and files without a label; a file's name is its ID with `ending`."""
    labelled = set(ids)
    missing = [name for name in ids if name not in found]
    if missing:
        raise DataError(
            f"a label for the unknown ID {missing[0]!r}: no file {missing[0]}{ending} in {folder}"
            + (f" ({len(missing)} such IDs)" if len(missing) > 1 else ""),
            expected="labels of the files in the folder",
            fix="restore the file, or drop the label",
        )
    if len(found) > len(labelled):
        extra = sorted(found - labelled)
        raise DataError(
            f"ID {extra[0]!r} without a label ({len(extra)} of {len(found)} files in {folder} have none)",
            expected="a label for each file",
            fix="label it, or move the file elsewhere",
        )
