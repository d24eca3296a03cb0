"""Parquet files as a source: loaded into memory if they fit, else read by row group."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.images import Mode
from tailfit.data.files.memory import available_memory, fits_in_memory
from tailfit.data.files.parquet_pages import chunk_sizes
from tailfit.data.files.reading import KnownFile, known_files
from tailfit.data.records.ragged import Ragged, allocate, assembled
from tailfit.data.sources.columns import Columnar, Images, TableOptions
from tailfit.errors import RecordError
from tailfit.extras import needed
from tailfit.storage.reading import open_regular

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
    """One row group. Each read opens and closes the file, so that forks never share an open file."""

    def __init__(
        self, file: KnownFile, metadata: Any, schema: Any, number: int, first: int, sizes: Sequence[tuple[str, int]]
    ) -> None:
        self.file, self.schema = file, schema
        self._metadata, self._number = metadata, number
        self._first, self._sizes = first, sizes
        self.rows = metadata.row_group(number).num_rows if metadata.num_row_groups else 0
        if self.rows < 0:
            raise ValueError(f"{self.rows} rows")

    def row(self, number: int) -> str:
        """Return the name of a row in messages."""
        return f"{self.file.path}: row {self._first + number}"

    def bytes_of(self, names: Sequence[str]) -> int:
        """Return the approximate size of decoded columns."""
        return sum(size for path, size in self._sizes if any(f"{path}.".startswith(f"{name}.") for name in names))

    def read(self, names: list[str]) -> Any:
        self.file.check()
        with _opened(self.file, metadata=self._metadata) as file:
            if not self._metadata.num_row_groups:
                return self.schema.empty_table().select(names)
            # use_threads=False: the caller may be a reader thread already, and thread pools do not survive a fork.
            table = file.read_row_group(self._number, columns=names, use_threads=False).select(names)
            # pyarrow does not validate strings when it reads them; invalid UTF-8 would abort polars.
            table.validate(full=True)
            if table.num_rows != self.rows:
                raise ValueError(f"{table.num_rows} rows instead of {self.rows} as stated in the footer")
            return table


@contextmanager
def _opened(file: KnownFile, **options: Any) -> Iterator[Any]:
    """Open a `pyarrow.parquet.ParquetFile` whose errors name the file."""
    pa, parquet = needed("pyarrow", "parquet", _WHAT), needed("pyarrow.parquet", "parquet", _WHAT)
    try:
        # Not memory-mapped: truncating a mapped file kills the process.
        with parquet.ParquetFile(file.path, memory_map=False, page_checksum_verification=True, **options) as opened:
            yield opened
    except (OSError, ValueError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise RecordError(
            f"{file.path}: {what}", expected="an intact Parquet file", fix="write the file again"
        ) from error


def _groups(file: KnownFile) -> list[_Group]:
    groups: list[_Group] = []
    with open_regular(file.path) as footer, _opened(file) as opened:
        metadata, schema = opened.metadata, opened.schema_arrow.remove_metadata()
        # Not from `metadata.row_group(number).column(...)`: a damaged column chunk would end the process there.
        chunks = chunk_sizes(footer)
        if len(chunks) != metadata.num_row_groups:
            raise ValueError(f"{len(chunks)} row groups in the footer instead of {metadata.num_row_groups}")
        paths = [metadata.schema.column(position).path for position in range(metadata.num_columns)]
        first = 0
        for number, group in enumerate(chunks or [[(0, 0)] * len(paths)]):
            # Dictionary encoding makes columns smaller in the file than in memory.
            sizes = [(path, max(size, 8 * values)) for path, (values, size) in zip(paths, group, strict=True)]
            groups.append(_Group(file, metadata, schema, number, first, sizes))
            first += groups[-1].rows
        if schema.names and sum(group.rows for group in groups) > available_memory():
            raise ValueError(f"{metadata.num_rows} rows, more than the free memory in bytes")
    return groups


def _names(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
