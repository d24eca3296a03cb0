"""Parquet files as a source: loaded into memory if they fit, else read by row group."""

import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.images import Mode
from tailfit.data.files.memory import fits_in_memory
from tailfit.data.files.parquet_groups import ParquetRows, open_parquet
from tailfit.data.files.reading import KnownFile, known_files
from tailfit.data.records.ragged import Ragged, allocate, assembled
from tailfit.data.sources.columns import Columnar, Images, TableOptions
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["Parquet"]

_WHAT = "a Parquet file"
_CACHED_GROUPS = 2  # most recently read row groups, so that sequential reads decode each one once


class Parquet(Columnar):
    """Rows of Parquet files, with some of the columns as records.

    A single column of lists or encoded images gives records that are arrays. Columns of single numbers give rows of a
    matrix, with the dtype that can represent all of them. Otherwise a record is a dict of arrays by column. All other
    columns except label, ID and columns of bytes are metadata. Files larger than memory are read by row group, a whole
    group for each row; `pack` them before reading in random order.

    Args:
        path: A file, a folder of `.parquet` files (in the order of their names), or a list of files.
        label: Column of labels: class indices, names, or lists of C indicators or probabilities. Default `label`, if it
            exists.
        id: Column of IDs. Default `id`, if it exists; else IDs are "0", "1", ...
        columns: Record columns. By default all columns of numbers or lists of numbers; if there are none, those of
            images (bytes, or Hugging Face's structs of bytes and path). A column that only numbers the rows (a saved
            index such as `""`, `Unnamed: 0` or `index`) is left out with a warning unless it is listed here, because it
            gives away the class if rows are sorted.
        image_size, image_mode: `(height, width)` and mode that images are converted to; see `ImageFolder`.
        class_names: Class names in the order of the class indices.
        strip: Whether to strip whitespace around class names.
        memory: Whether to load all records into memory at the first `read`; `"auto"` does so if they take at most half
            of the free memory.
        nan: Policy for NaN and infinity, applied when a record is first read: `"raise"`, `"warn"` (once) or `"keep"`.
            Null in a column of floats is NaN.
        ragged: Whether the lists of a column, the steps of its records, may differ in length from row to row.
    Shapes: `read(indices)` returns `[n, columns]`, `[n, *list]`, or a dict of `[n, ...]`. With `ragged=True` it returns
        a `Ragged` of n records for each column of lists.
    Raises:
        RecordError: If a file is missing, truncated, damaged, has changed, or has different columns from the first one,
            or if a record contains NaN. The message begins with the file's path.
        DataError: If a column does not exist, or IDs or labels are invalid.
        PackageError: If pyarrow is not installed.

    >>> import tempfile, polars
    >>> table = polars.DataFrame({"id": ["a", "b"], "flow": [0.5, 1.5], "heat": [3, 4], "label": ["ok", "leak"]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table.write_parquet(f"{folder}/pumps.parquet")
    ...     source = Parquet(f"{folder}/pumps.parquet")
    ...     source.read([1, 0]).tolist(), source.ids, source.labels.tolist()
    ([[1.5, 4.0], [0.5, 3.0]], ('a', 'b'), [1, 0])
    """

    def __init__(
        self,
        path: str | PathLike[str] | Sequence[str | PathLike[str]],
        label: str | None = None,
        id: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        image_mode: Mode = "RGB",
        class_names: Sequence[str] | None = None,
        strip: bool = False,
        memory: bool | Literal["auto"] = "auto",
        nan: str = "raise",
        ragged: bool = False,
    ) -> None:
        self._groups: Final = [group for file in known_files(path, (".parquet",)) for group in _groups(file)]
        first = self._groups[0]
        for group in self._groups:
            if not group.schema.equals(first.schema):
                raise RecordError(
                    f"{group.file.path}: the columns {_names(group.schema)}",
                    expected=f"{_names(first.schema)} as in the first file, {first.file.path}",
                    fix="write all files with the same columns, or move this file to a separate folder",
                )
        sizes = [group.rows for group in self._groups]
        self._ends: Final = np.cumsum(sizes, dtype=np.int64)
        options = TableOptions(
            label=label,
            id=id,
            columns=columns,
            image_size=image_size,
            image_mode=image_mode,
            class_names=class_names,
            strip=strip,
            nan=nan,
            ragged=ragged,
        )
        super().__init__(first.schema, sum(sizes), self._read_columns, first.file.path, options)
        fits = fits_in_memory(sum(group.bytes_of(self._record_columns) for group in self._groups), memory)
        # Images are kept encoded; decoding them takes long enough to be worth reading ahead.
        self.in_memory = fits and not self._decoders
        self._max_cached: Final = len(self._groups) if fits and self._decoders else _CACHED_GROUPS
        self._lock = threading.Lock()
        self._arrays: Mapping[str, Any] | None = None
        self._recent: dict[int, dict[str, NDArray[Any] | Ragged | Images]] = {}

    def _read_columns(self, names: list[str]) -> Any:
        pa = needed("pyarrow", "parquet", _WHAT)
        return pa.concat_tables([group.read(names) for group in self._groups])

    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        if self.in_memory:
            if self._arrays is None:
                with self._lock:
                    if self._arrays is None:
                        self._arrays = self._from_groups(np.arange(len(self)))
                        self._recent = {}
            return {name: array.take(indices, axis=0) for name, array in self._arrays.items()}
        return self._from_groups(indices)

    def _from_groups(self, indices: NDArray[np.int64]) -> dict[str, Any]:
        owners = np.searchsorted(self._ends, indices, side="right")
        out: dict[str, Any] = {}
        for owner in np.unique(owners).tolist() or [0]:  # without rows, the first group gives the shapes
            rows = np.flatnonzero(owners == owner)
            within = indices[rows] - (int(self._ends[owner]) - self._groups[owner].rows)
            for name, column in self._group(owner).items():
                part = column.take(within, axis=0)
                if name not in out:
                    out[name] = allocate(part, len(indices))
                whole = out[name]
                if whole.shape[1:] != part.shape[1:]:
                    raise RecordError(
                        f"{self._groups[owner].file.path}: lists of shape {part.shape[1:]} in column {name!r}",
                        expected=f"{whole.shape[1:]} as in the previous records",
                        fix="pass ragged=True if records differ in length, or drop the column from columns=",
                    )
                whole[rows] = part
        return {name: assembled(whole) for name, whole in out.items()}

    def _group(self, number: int) -> dict[str, NDArray[Any] | Ragged | Images]:
        cached = self._recent.get(number)
        if cached is None:
            group = self._groups[number]
            table = group.read(self._record_columns)
            cached = {name: self._column(table, name, group.row) for name in self._record_columns}
            # Assign a new dict instead of changing the old one, which other threads may be reading.
            self._recent = dict([*self._recent.items(), (number, cached)][-self._max_cached :])
        return cached

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_arrays": None, "_recent": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class _Group:
    """One row group of one of the files."""

    def __init__(self, rows: ParquetRows, number: int) -> None:
        self.file, self.schema = rows.file, rows.schema
        self._table, self._number = rows, number
        self._first = sum(rows.sizes[:number])
        self.rows = rows.sizes[number] if rows.sizes else 0

    def row(self, number: int) -> str:
        """Return the name of a row in messages."""
        return f"{self.file.path}: row {self._first + number}"

    def bytes_of(self, names: Sequence[str]) -> int:
        """Return the approximate size of decoded columns."""
        sizes = self._table.bytes_by_path[self._number] if self._table.sizes else []
        return sum(size for path, size in sizes if any(f"{path}.".startswith(f"{name}.") for name in names))

    def read(self, names: list[str]) -> Any:
        return self._table.read(self._number, names)


def _groups(file: KnownFile) -> list[_Group]:
    with open_parquet(file) as (rows, _):
        pass
    return [_Group(rows, number) for number in range(max(len(rows.sizes), 1))]


def _names(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
