"""Parquet files as a source: held in memory if they fit there, else read by the row group."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.images import Mode
from tailfit.data.files.memory import available_memory, fits_in_memory
from tailfit.data.files.reading import KnownFile, known_files
from tailfit.data.records.ragged import Ragged, filled, room_for
from tailfit.data.sources.columns import Columnar, Images
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["Parquet"]

_WHAT = "a Parquet file"
_KEPT = 2  # row groups read last: records read in order find theirs again


class Parquet(Columnar):
    """The rows of Parquet files, of which some columns are the records.

    One column of lists, or of encoded images: the records are its arrays. Columns of single numbers: the records are
    rows of a matrix, of the type that holds them all. Both: a dict of arrays by column. The columns that are neither
    record, label nor ID are metadata, but for bytes. A file larger than memory is read by row groups, each whole for
    one of its rows: for a random order, `pack` it first.

    Args:
        path: A file, a folder of `.parquet` files (in the order of their names), or a list of files.
        label: The column of labels: codes, names, or lists of C indicators or probabilities. `label` if there is one.
        id: The column of IDs. The column `id` if there is one; else they are numbered, "0", "1", ...
        columns: Those of the records; all columns of numbers, or of lists of numbers, without it; or where there are
            none, those of images: bytes, or Hugging Face's pairs of bytes and path. A column that only numbers the rows
            (an index that was saved: `""`, `Unnamed: 0`, `index`, ...) is left out with a warning unless it is named
            here: where rows are sorted, it tells the class.
        image_size, image_mode: `(height, width)` and mode that images are brought to, as of `ImageFolder`.
        class_names: Names of the classes in the order of their codes.
        strip: Whether white space around names of classes is dropped.
        memory: Whether the records are read into memory at the first `read`; `"auto"`: if they take no more than half
            of what is free.
        nan: What to do with NaN or infinity (nothing, in a column of floats, is NaN) in a record, when it is read for
            the first time: `"raise"`, `"warn"` (once) or `"keep"`.
        ragged: Whether the lists of a column may differ in length from row to row: the steps of a record.
    Shapes: `read(indices)` gives `[n, columns]`, `[n, *list]`, or a dict of `[n, ...]`; ragged, a `Ragged` of n records
        for each column of lists.
    Raises:
        RecordError: beginning with a file's path: missing, truncated, damaged, changed since, of other columns than the
            first one; or a record with a NaN, whose ID is named.
        DataError: if a column is not there, or IDs or labels are not what they must be.
        PackageError: without pyarrow.

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
                    fix="write all files with the same columns, or keep them in folders of their own",
                )
        sizes = [group.rows for group in self._groups]
        self._ends: Final = np.cumsum(sizes, dtype=np.int64)
        super().__init__(
            first.schema,
            sum(sizes),
            self._whole,
            first.file.path,
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
        fits = fits_in_memory(sum(group.bytes_of(self._features) for group in self._groups), memory)
        # Images stay encoded, and are better decoded ahead.
        self.in_memory = fits and not self._decoders
        self._kept: Final = len(self._groups) if fits and self._decoders else _KEPT
        self._lock = threading.Lock()
        self._arrays: Mapping[str, Any] | None = None
        self._recent: dict[int, dict[str, NDArray[Any] | Ragged | Images]] = {}

    def _whole(self, names: list[str]) -> Any:
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
        for owner in np.unique(owners).tolist() or [0]:  # of no row: the shapes of the first group
            rows = np.flatnonzero(owners == owner)
            within = indices[rows] - (int(self._ends[owner]) - self._groups[owner].rows)
            for name, column in self._group(owner).items():
                part = column.take(within, axis=0)
                if name not in out:
                    out[name] = room_for(part, len(indices))
                whole = out[name]
                if whole.shape[1:] != part.shape[1:]:
                    raise RecordError(
                        f"{self._groups[owner].file.path}: lists of shape {part.shape[1:]} in column {name!r}",
                        expected=f"{whole.shape[1:]} as in the records before",
                        fix="pass ragged=True if records differ in length; or leave the column out of columns=",
                    )
                whole[rows] = part
        return {name: filled(whole) for name, whole in out.items()}

    def _group(self, number: int) -> dict[str, NDArray[Any] | Ragged | Images]:
        held = self._recent.get(number)
        if held is None:
            group = self._groups[number]
            table = group.read(self._features)
            held = {name: self._column(table, name, group.row) for name in self._features}
            # A new dict, put in its place at once: other threads go on with the one that they hold.
            self._recent = dict([*self._recent.items(), (number, held)][-self._kept :])
        return held

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_arrays": None, "_recent": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class _Group:
    """One row group. Its file is opened to read it and closed again: nothing is held that a fork could share."""

    def __init__(self, file: KnownFile, metadata: Any, schema: Any, number: int) -> None:
        self.file, self.schema, self.rows = file, schema, 0
        self._metadata, self._number = metadata, number
        self._first = sum(metadata.row_group(before).num_rows for before in range(number))
        self._bytes: list[tuple[str, int]] = []
        if metadata.num_row_groups:
            group = metadata.row_group(number)
            self.rows = group.num_rows
            columns = [group.column(position) for position in range(group.num_columns)]
            # Dictionaries make columns smaller in the file than they are.
            sizes = [max(column.total_uncompressed_size, 8 * column.num_values) for column in columns]
            self._bytes = [(column.path_in_schema, size) for column, size in zip(columns, sizes, strict=True)]
        if self.rows < 0:
            raise ValueError(f"{self.rows} rows")

    def row(self, number: int) -> str:
        """What messages call one of its rows."""
        return f"{self.file.path}: row {self._first + number}"

    def bytes_of(self, names: Sequence[str]) -> int:
        """What its columns take when they are decoded, about."""
        return sum(size for path, size in self._bytes if any(f"{path}.".startswith(f"{name}.") for name in names))

    def read(self, names: list[str]) -> Any:
        self.file.check()
        with _opened(self.file, metadata=self._metadata) as file:
            if not self._metadata.num_row_groups:
                return self.schema.empty_table().select(names)
            # One thread: it may be a reader's own, and pools do not survive a fork.
            table = file.read_row_group(self._number, columns=names, use_threads=False).select(names)
            # What is decoded is not looked at: text that is no text would end in a panic of what reads it next.
            table.validate(full=True)
            if table.num_rows != self.rows:
                raise ValueError(f"{table.num_rows} rows where its footer says {self.rows}")
            return table


@contextmanager
def _opened(file: KnownFile, **options: Any) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`, whose errors name the file."""
    pa, parquet = needed("pyarrow", "parquet", _WHAT), needed("pyarrow.parquet", "parquet", _WHAT)
    try:
        # Read, not mapped: a mapped file that is truncated meanwhile ends the process.
        with parquet.ParquetFile(file.path, memory_map=False, page_checksum_verification=True, **options) as opened:
            yield opened
    except (OSError, ValueError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise RecordError(f"{file.path}: {what}", expected="a whole Parquet file", fix="write it again") from error


def _groups(file: KnownFile) -> list[_Group]:
    with _opened(file) as opened:
        metadata, schema = opened.metadata, opened.schema_arrow.remove_metadata()
        groups = [_Group(file, metadata, schema, number) for number in range(max(metadata.num_row_groups, 1))]
        if schema.names and sum(group.rows for group in groups) > available_memory():
            raise ValueError(f"{metadata.num_rows} rows, each of which needs a byte of memory at least")
    return groups


def _names(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
