"""A folder of records, one `.npy` file each, as a source: the classic layout `data/<ID>.npy`."""

import copy
import os
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.npy import Header, read_header, read_row
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import Look
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
    """The records `folder/<ID>.npy`, of one shape and type, read by the batch straight from the files.

    The folder is listed once, at construction, which also checks IDs against labels; the records themselves are
    checked as they are read. Order and codes come from the IDs' order in `labels`, or the sorted IDs without.

    Args:
        folder: Where the files are. Other files than `.npy` are ignored.
        labels: ID to label, one for each file: a dict; a JSON file of one; a polars DataFrame or a CSV, NDJSON or
            Parquet file, one of whose columns holds the IDs and another the labels. A label is a code, a class name,
            or a list of C indicators or probabilities. Without `labels` the source is unlabelled.
        metadata: polars DataFrame, or a CSV, JSON, NDJSON or Parquet file, one of whose columns holds the IDs.
        class_names: Names of the classes in the order of their codes.
        id: The column of the IDs, where their values don't tell it: it is the one that has every ID once. IDs are
            compared as text; `001.npy`, `data/001` and `data\\001` are the ID `001`, too.
        label: The column of the labels, in a table that has several besides the IDs.
        strip: Whether white space around names of classes is dropped.
        nan: What to do with NaN or infinity in a record read: `"raise"`, `"warn"` (once) or `"keep"`.
        ragged: Whether records may differ in their first axis, the steps. Then `lengths` looks into every file once.
    Shapes: `read(indices)` gives `[len(indices), *record]` in the files' type and units, native byte order; ragged, a
        `Ragged` of the records.
    Raises:
        DataError: if files, labels and metadata do not match, or an ID is not a plain name (separators, `..`, a drive).
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
        metadata: Metadata | None = None,
        class_names: Sequence[str] | None = None,
        *,
        id: str | None = None,
        label: str | None = None,
        strip: bool = False,
        nan: str = "raise",
        ragged: bool = False,
    ) -> None:
        self._look: Final = Look(nan, RecordError)
        self._folder: Final = os.path.abspath(fspath(folder))
        if labels is None and class_names is not None:
            raise ArgumentError("class_names without labels", expected="both, or none", fix="pass labels")
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
        # Of a ragged folder: steps of each record that was looked at, else -1; and the header of so many.
        self._steps: Final = np.full(len(ids), -1, dtype=np.int64)
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

    def as_ragged(self) -> Source | None:
        """As `Source.as_ragged`."""
        if self.ragged:
            return None
        twin = copy.copy(self)
        twin.ragged = True
        return twin

    def _path(self, position: int) -> str:
        name = self.ids[position]
        return self._links.get(name) or f"{self._folder}{os.sep}{name}.npy"

    def _reference(self) -> tuple[Header, str]:
        """The header that all files must share, the first one's that can be read, and its path.

        Two threads may both read it: it is the same.
        """
        if self._first is None:
            self._first = self._first_header()
        return self._first

    def _first_header(self) -> tuple[Header, str]:
        for position in range(len(self)):
            header = _readable_header(self._path(position))
            if header is not None:
                return header, self._path(position)
        return read_header(self._path(0)), self._path(0)  # none can be read: the first one's error

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


def _readable_header(path: str) -> Header | None:
    """A file's header; None where it can't be read, which is an error when its record is."""
    try:
        header = read_header(path)
    except RecordError:
        return None
    check_record_type(header.dtype, path, RecordError)
    return header


def _listed(folder: str) -> tuple[set[str], dict[str, str]]:
    """IDs in the folder, and the targets of those that are links. One listing, no call a file."""
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
                        f"{entry.path}: not a regular file", expected="one .npy file an ID", fix="remove it"
                    )
    except NotADirectoryError:
        raise DataError(f"{folder}: a file", expected="a folder of .npy files", fix="pass its folder") from None
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder", expected="a folder of .npy files", fix="check the path") from None
    except RecordError:
        raise
    except OSError as error:
        raise unreadable(folder, error) from error
    return found, links
