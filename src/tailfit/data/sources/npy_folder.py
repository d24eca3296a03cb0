"""A folder with one `.npy` file per record as a source: the classic layout `data/<ID>.npy`."""

import copy
import os
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.npy import Header, read_header, read_row
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import ReadCheck
from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Source
from tailfit.data.tables.ids import check_id
from tailfit.data.tables.labels import Labels, tables_of_files
from tailfit.data.tables.metadata import Metadata
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.labels import encode
from tailfit.storage.reading import refuse_link_out, unreadable

__all__ = ["NpyFolder"]


class NpyFolder(Source):
    """Records `folder/<ID>.npy` of one shape and type, read directly from the files into the batch.

    The constructor lists the folder once and checks the IDs against the labels; records are checked when they are
    read. Samples have the order of the IDs in `labels`, or the order of the sorted IDs without labels.

    Args:
        folder: Path of the folder. Files that don't end in `.npy` are ignored.
        labels: Label of each ID, one for every file: a dict; a JSON file with such an object; a polars DataFrame or a
            CSV, NDJSON or Parquet file with a column of IDs and a column of labels. A label is a class index, a class
            name, or a list of C indicators or probabilities. Without `labels` the source is unlabelled.
        metadata: polars DataFrame, or a CSV, JSON, NDJSON or Parquet file, with a column of IDs.
        class_names: Class names in the order of the class indices.
        id: Column of the IDs. By default it is the column that contains every ID exactly once. IDs are compared as
            text; `001.npy`, `data/001` and `data\\001` also denote the ID `001`.
        label: Column of the labels, required if the table has several columns besides the IDs.
        strip: Whether to strip whitespace around class names.
        nan: Policy for NaN and infinity, applied whenever a record is read: `"raise"`, `"warn"` (once) or `"keep"`.
        ragged: Whether records may differ in length on their first axis, the steps. The first use of `lengths` then
            reads the header of every file.
    Shapes: `read(indices)` returns `[len(indices), *record]` in the files' dtype and units and native byte order; a
        `Ragged` with `ragged=True`.
    Raises:
        DataError: If files, labels and metadata do not match, or an ID is not a plain name (separators, `..`, a drive).
        RecordError: If a file is missing, empty, truncated, too long, pickled, unreadable, or a link out of the folder,
            differs from the first file in shape or dtype, or contains NaN. The message begins with the file's path.

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
        metadata: Metadata | None = None,
        class_names: Sequence[str] | None = None,
        *,
        id: str | None = None,
        label: str | None = None,
        strip: bool = False,
        nan: str = "raise",
        ragged: bool = False,
    ) -> None:
        self._nan_check: Final = ReadCheck(nan, RecordError)
        self._folder: Final = str(Path(fspath(folder)).absolute())
        if labels is None and class_names is not None:
            raise ArgumentError(
                "class_names= without labels=", expected="both or neither", fix="pass labels=, or drop class_names="
            )
        found, self._links = _listed(self._folder)
        ids, values, table = tables_of_files(
            found, labels, metadata, id=id, label=label, folder=self._folder, ending=".npy"
        )
        encoded = None if labels is None else encode(values, class_names=class_names, ids=ids, strip=strip)
        super().__init__(ids, encoded, table)
        self._first: tuple[Header, str] | None = None
        if ids:
            _readable_header(self._path(0))
        self.ragged = ragged
        # Caches of a ragged folder: the steps of each record whose header was read, else -1; and a header of each
        # number of steps.
        self._steps: Final = np.full(len(ids), -1, dtype=np.int64)
        self._headers: Final[dict[int, Header]] = {}

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`.

        Raises:
            RecordError: If a file can't be read; the message names it.
        """
        if not self.ragged:
            return None
        for position in np.flatnonzero(self._steps < 0).tolist():
            self._header_of(position)
        return self._steps.copy()

    def as_ragged(self) -> Source | None:
        """See `Source.as_ragged`."""
        if self.ragged:
            return None
        twin = copy.copy(self)
        twin.ragged = True
        return twin

    def _path(self, position: int) -> str:
        name = self.ids[position]
        return self._links.get(name) or f"{self._folder}{os.sep}{name}.npy"

    def _reference(self) -> tuple[Header, str]:
        """Return the header that all files must share, that of the first readable file, and the path of this file."""
        # Without a lock: if two threads read it, they read the same.
        if self._first is None:
            self._first = self._first_header()
        return self._first

    def _first_header(self) -> tuple[Header, str]:
        for position in range(len(self)):
            header = _readable_header(self._path(position))
            if header is not None:
                return header, self._path(position)
        return read_header(self._path(0)), self._path(0)  # no file is readable: raise the error of the first one

    def _header_of(self, position: int) -> Header:
        """Return the header of a record of a ragged folder."""
        steps = int(self._steps[position])
        if steps < 0:
            (reference, reference_path), path = self._reference(), self._path(position)
            header = read_header(path)
            same_dtype = header.dtype.newbyteorder("=") == reference.dtype.newbyteorder("=")
            if not header.shape or not same_dtype or header.shape[1:] != reference.shape[1:]:
                raise RecordError(
                    f"{path}: {header}",
                    expected=f"{reference} as in the first file, {reference_path}, except for the first axis",
                    fix="save all records with one dtype, and one shape except for the first axis",
                )
            steps = header.shape[0]
            # Set the steps last: another thread that sees them also finds the header.
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
            self._nan_check.check(indices, ragged, self._path)
            return ragged
        reference, reference_path = self._reference()
        batch = np.empty((len(indices), *reference.shape), reference.dtype.newbyteorder("="))
        for row, position in enumerate(indices.tolist()):
            # batch[row, ...] is an array even if records are scalars.
            read_row(self._path(position), batch[row, ...], reference, reference_path)
        self._nan_check.check(indices, batch, self._path)
        return batch


def _readable_header(path: str) -> Header | None:
    """Return a file's header, or None if it can't be read; reading the record then raises the error."""
    try:
        header = read_header(path)
    except RecordError:
        return None
    check_record_type(header.dtype, path, RecordError)
    return header


def _listed(folder: str) -> tuple[set[str], dict[str, str]]:
    """Return the IDs in the folder, and the targets of those that are links, from one listing of the folder."""
    found: set[str] = set()
    links: dict[str, str] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.endswith(".npy"):
                    continue
                name = entry.name[:-4]
                check_id(name)
                found.add(name)
                if entry.is_symlink():
                    links[name] = refuse_link_out(entry.path, folder)
                elif not entry.is_file(follow_symlinks=False):
                    raise RecordError(
                        f"{entry.path}: not a regular file", expected="one .npy file per ID", fix="remove or rename it"
                    )
    except NotADirectoryError:
        raise DataError(
            f"{folder}: a file", expected="a folder of .npy files", fix="pass the folder that contains the file"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder", expected="a folder of .npy files", fix="check the path") from None
    except RecordError:
        raise
    except OSError as error:
        raise unreadable(folder, error) from error
    return found, links
