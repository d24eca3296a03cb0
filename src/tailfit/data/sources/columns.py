"""Tables as sources: some columns form the records, one the labels, one the IDs, and the others metadata.

Concepts:
- *numeric column*: integers, floats or booleans, or arbitrarily nested lists of them, all of one length. With `ragged`,
  the outer lists may differ in length from row to row.
- *image column*: encoded images, either bytes or Hugging Face's structs of bytes and path.
- *record columns*: by default all numeric columns except label and ID; if there are none, the image columns. A single
  column of lists or images gives records that are arrays. Columns of single numbers give rows of a matrix of one dtype.
  Otherwise a record is a dict of arrays by column.
"""

import copy
import warnings
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.files.images import Decoder, Mode
from tailfit.data.records.finite import DataWarning, FirstReadCheck
from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Numbered, Source, checked_ids, index_chunks
from tailfit.data.tables.labels import UnreadLabel
from tailfit.data.tables.row_numbers import left_out_message, may_number_rows, numbers_rows
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.extras import needed
from tailfit.labels import encode

__all__ = ["Columnar", "Images", "TableOptions", "to_array"]

_THREADS, _MAX_PIXELS = 4, 1 << 26  # decoder threads, and the limit on the size of an image
_ROWS = 1 << 12  # rows read together to find the lengths of their records


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Options of all tables; see the arguments of `tailfit.data.Parquet`."""

    label: str | None
    id: str | None
    columns: Sequence[str] | None
    image_size: tuple[int, int] | None
    image_mode: Mode
    class_names: Sequence[str] | None
    strip: bool
    nan: str
    ragged: bool

    def __post_init__(self) -> None:
        columns = self.columns
        if columns is not None and (isinstance(columns, str) or not isinstance(columns, Sequence)):
            raise ArgumentError(
                f"columns={columns!r}", expected="a list of column names", fix=f"pass columns=[{columns!r}]"
            )


class Columnar(Source):
    """Rows of a table; a subclass reads the record columns in `_columns`.

    Args:
        schema: `pyarrow.Schema` of the table.
        size: Number of rows.
        read_columns: Function that reads whole columns by name as a `pyarrow.Table`.
        where: Name of the table in messages.
        options: Options of the user.
        label_names: Function that returns the class names that the table stores for its label column, or None.
    """

    def __init__(
        self,
        schema: Any,
        size: int,
        read_columns: Callable[[list[str]], Any],
        where: str,
        options: TableOptions,
        *,
        label_names: Callable[[str], Sequence[str] | None] = lambda label: None,
    ) -> None:
        self._where: Final = where
        names = list(schema.names)
        repeated = [name for name, times in Counter(names).items() if times > 1]
        if repeated:
            raise DataError(
                f"{where}: the column {repeated[0]!r} more than once",
                expected="columns with different names",
                fix="rename the columns in the file",
            )
        unread = options.label if isinstance(options.label, UnreadLabel) else None
        if unread is not None:
            options = replace(options, label=unread if unread in names else None)
        label = _find_column(names, options.label, "label", where)
        key = _find_column(names, options.id, "id", where)
        types = {name: schema.field(name).type for name in names if name not in (label, key)}
        images = [name for name in types if _is_image(types[name])]
        self._record_columns: Final = self._chosen_columns(schema, types, images, read_columns, options.columns)
        self._list_columns: Final = [name for name in self._record_columns if _is_variable_list(types[name])]
        if all(_is_single(types[name]) for name in self._record_columns):
            self.channels = tuple(self._record_columns)
        self.ragged = options.ragged
        if self.ragged and not self._list_columns:
            raise DataError(
                f"{where}: ragged=True without a record column of lists",
                expected="a record column of lists of numbers, not of fixed size",
                fix="drop ragged=True, or name a column of lists in columns=",
            )
        self._decoders: Final = {
            name: Decoder(options.image_mode, options.image_size, _THREADS, _MAX_PIXELS)
            for name in self._record_columns
            if name in images
        }
        # Columns of bytes are whole files (images, sound), possibly gigabytes, which are of no use as metadata.
        rest = [name for name in types if name not in self._record_columns and not _has_bytes(types[name])]
        if unread is not None:
            label = None  # not part of the records either, see `types`
        table = read_columns([name for name in (key, label, *rest) if name is not None])
        ids: Sequence[str] = Numbered(size)
        if key is not None:
            ids = checked_ids(_id_values(table[key], key, where), size)
        labels = None
        if label is not None:
            class_names = options.class_names if options.class_names is not None else label_names(label)
            values = _label_values(table[label], label, where)
            labels = encode(values, class_names=class_names, ids=ids, strip=options.strip)
        elif options.class_names is not None:
            raise ArgumentError(
                "class_names= without label=", expected="both or neither", fix="pass label=, or drop class_names="
            )
        super().__init__(ids, labels, _metadata_table(table, rest, ids))
        if self.left_out:
            warnings.warn(left_out_message(where, self.left_out, "columns=[...]"), DataWarning, stacklevel=4)
        self._nan_check: Final = FirstReadCheck(size, options.nan, RecordError)

    def _chosen_columns(
        self,
        schema: Any,
        types: Mapping[str, Any],
        images: Sequence[str],
        read_columns: Callable[[list[str]], Any],
        columns: Sequence[str] | None,
    ) -> list[str]:
        """Return the record columns; set `left_out` to the columns that are skipped because they number the rows."""
        numeric = [name for name in types if _is_numeric(types[name])]
        if columns is None:
            self.left_out = tuple(
                name for name in numeric if _is_single(types[name]) and _numbers_rows(read_columns, name)
            )
            numeric = [name for name in numeric if name not in self.left_out]
        chosen = (numeric or list(images)) if columns is None else list(columns)
        for name in chosen:
            _find_column(list(schema.names), name, name, self._where)
            if name not in (*numeric, *images):
                raise DataError(
                    f"{self._where}: record column {name!r} of type {types.get(name, 'label or ID')}",
                    expected="record columns of numbers, lists of numbers, or images",
                    fix="drop it from columns=; it then becomes metadata",
                )
        if not chosen:
            raise DataError(
                f"{self._where}: no column for the records among {_listing(schema, self.left_out)}",
                expected="one or more columns of numbers, lists of numbers, or images",
                fix="pass columns=, label= and id=",
            )
        return chosen

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """See `Source.lengths`; the first use reads all records once."""
        return self._lengths if self.ragged else None

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        parts = (self._columns(indices) for indices in index_chunks(0, len(self), _ROWS))
        return np.concatenate([np.zeros(0, np.int64), *(self._lengths_in(part) for part in parts)])

    @property
    def _ragged_columns(self) -> list[str]:
        """Columns whose lists may differ in length."""
        return self._list_columns if self.ragged else []

    def as_ragged(self) -> Source | None:
        """See `Source.as_ragged`."""
        if self.ragged or not self._list_columns:
            return None
        twin = copy.copy(self)  # shallow, so that records in memory are shared
        twin.ragged = True
        return twin

    def _lengths_in(self, columns: Mapping[str, Any]) -> NDArray[np.int64]:
        lengths: NDArray[np.int64] = columns[self._ragged_columns[0]].lengths
        return lengths

    @abstractmethod
    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        """Return new arrays of the record columns, with the rows at these positions."""

    def _column(self, table: Any, name: str, row: Callable[[int], str]) -> "NDArray[Any] | Ragged | Images":
        """Return a record column as an array, or as `Images`, which are decoded when rows are taken."""
        if name in self._ragged_columns:
            return _to_ragged(table[name], name, row)
        decoder = self._decoders.get(name)
        return to_array(table[name], name, row) if decoder is None else Images(table[name], name, row, decoder)

    def _read(self, indices: NDArray[np.int64]) -> Any:
        if len(self) and any(decoder.shape is None for decoder in self._decoders.values()):
            self._columns(np.zeros(1, dtype=np.int64))  # the first image sets the size of all
        arrays = self._columns(indices)
        batch: Any = {name: arrays[name] for name in self._record_columns}
        for name in self._ragged_columns[1:]:
            differ = arrays[name].lengths != self._lengths_in(arrays)
            if differ.any():
                row = int(np.argmax(differ))
                raise RecordError(
                    f"{self._named(int(indices[row]))}: lists of {self._lengths_in(arrays)[row]} in column "
                    f"{self._ragged_columns[0]!r} and {arrays[name].lengths[row]} in {name!r}",
                    expected="the same number of steps in all columns of a record",
                    fix="crop or pad the lists, or drop the column from columns=",
                )
        if all(len(array.shape) == 1 for array in arrays.values()):
            batch = np.stack(list(batch.values()), axis=1)
        elif len(batch) == 1:
            (batch,) = batch.values()
        self._nan_check.check(indices, batch, self._named)
        return batch

    def _named(self, position: int) -> str:
        return f"{self._where}: the record of ID {self.ids[position]!r}"


class Images:
    """A column of encoded images; see `to_array` for the arguments."""

    def __init__(self, column: Any, name: str, row: Callable[[int], str], decoder: Decoder) -> None:
        pa, compute = needed("pyarrow", "parquet", "a table"), needed("pyarrow.compute", "parquet", "a table")
        if pa.types.is_struct(column.type):
            column = compute.struct_field(column, "bytes")
        self._contents = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        self._decoder, self._name, self._row = decoder, name, row

    def take(self, rows: NDArray[np.int64], axis: int = 0) -> NDArray[Any]:
        """Decode the images in some rows."""
        return self._decoder(len(rows), lambda row: self._load(int(rows[row])))

    def _load(self, number: int) -> tuple[bytes, str]:
        content, where = self._contents[number].as_py(), f"{self._row(number)}, column {self._name!r}"
        if content is None:
            raise RecordError(
                f"{where}: an image without bytes",
                expected="images whose bytes are in the table",
                fix="read image files with ImageFolder",
            )
        return content, where


def to_array(column: Any, name: str, row: Callable[[int], str]) -> NDArray[Any]:
    """Convert a numeric column to an array, `[rows, ...]`. Null becomes NaN in columns of floats.

    Args:
        column: `pyarrow.Array` or `ChunkedArray`.
        name: Name of the column in messages.
        row: Function that returns the name of a row in messages, beginning with the table.
    Raises:
        RecordError: If a column of integers or booleans contains null, or lists differ in length.
    """
    pa = needed("pyarrow", "parquet", "a table")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        shape = getattr(column.type, "shape", None)
        array = to_array(column.storage, name, row)
        return array if shape is None else array.reshape(len(array), *shape)
    kind = column.type
    if column.null_count and not pa.types.is_floating(kind):
        _refuse_null(column, name, row)
    if not _is_list(pa, kind):
        values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return values
    if pa.types.is_fixed_size_list(kind):
        width = kind.list_size
    else:
        widths = column.value_lengths().to_numpy()
        width = int(widths[0]) if len(widths) else 0
        if (widths != width).any():
            other = int(np.argmax(widths != width))
            raise RecordError(
                f"{row(other)}: a list of length {widths[other]} in column {name!r}",
                expected=f"lists of one length, {width} as in {row(0)}",
                fix="pass ragged=True if records differ in length, or drop the column from columns=",
            )
    inner = to_array(column.flatten(), name, lambda number: row(number // max(width, 1)))
    return inner.reshape(len(column), width, *inner.shape[1:])


def _to_ragged(column: Any, name: str, row: Callable[[int], str]) -> Ragged:
    """Convert a column of lists to records that differ in length; see `to_array` for arguments and errors."""
    pa = needed("pyarrow", "parquet", "a table")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        _refuse_null(column, name, row)
    ends = np.cumsum(column.value_lengths().to_numpy(), dtype=np.int64)
    values = to_array(column.flatten(), name, lambda step: row(int(np.searchsorted(ends, step, side="right"))))
    # A copy, because Arrow's memory is read-only.
    return Ragged(values.copy(), np.diff(ends, prepend=0))


def _refuse_null(column: Any, name: str, row: Callable[[int], str]) -> NoReturn:
    raise RecordError(
        f"{row(int(np.argmax(column.is_null())))}: null in column {name!r} of type {column.type}",
        expected="a value in each row; only columns of floats may contain null, which is read as NaN",
        fix="fill or drop the row, or write the column as floats",
    )


def _metadata_table(table: Any, names: list[str], ids: Sequence[str]) -> pl.DataFrame | None:
    """Return some columns of an Arrow table with the IDs in front; None without columns."""
    if not names:
        return None
    metadata = pl.DataFrame(pl.from_arrow(table.select(names)))
    if "id" in metadata.columns:  # not the column of IDs, which is not among the names
        metadata = metadata.rename({"id": "id (column)"})
    return metadata.insert_column(0, pl.Series("id", list(ids), dtype=pl.String))


def _is_variable_list(kind: Any) -> bool:
    pa = needed("pyarrow", "parquet", "a table")
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_list(pa: Any, kind: Any) -> bool:
    return _is_variable_list(kind) or bool(pa.types.is_fixed_size_list(kind))


def _is_numeric(kind: Any) -> bool:
    pa = needed("pyarrow", "parquet", "a table")
    if isinstance(kind, pa.BaseExtensionType):
        return _is_numeric(kind.storage_type)
    if _is_list(pa, kind):
        return _is_numeric(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_single(kind: Any) -> bool:
    types = needed("pyarrow", "parquet", "a table").types
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _numbers_rows(read_columns: Callable[[list[str]], Any], name: str) -> bool:
    """Return whether a numeric column only numbers the rows; read it only if its name suggests that."""
    if not may_number_rows(name):
        return False
    column = read_columns([name])[name]
    return not column.null_count and numbers_rows(name, column.to_numpy())


def _is_image(kind: Any) -> bool:
    types = needed("pyarrow", "parquet", "a table").types
    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_image(kind.field("bytes").type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _has_bytes(kind: Any) -> bool:
    pa = needed("pyarrow", "parquet", "a table")
    if pa.types.is_struct(kind):
        return any(_has_bytes(kind.field(number).type) for number in range(kind.num_fields))
    if _is_list(pa, kind):
        return _has_bytes(kind.value_type)
    return _is_image(kind) or bool(pa.types.is_fixed_size_binary(kind))


def _id_values(column: Any, name: str, where: str) -> list[Any]:
    types = needed("pyarrow", "parquet", "a table").types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if not text and not types.is_integer(kind):
        raise DataError(
            f"{where}: column {name!r} of type {kind} as IDs",
            expected="a column of text or whole numbers",
            fix="pass the name of such a column as id=",
        )
    values: list[Any] = column.to_pylist()
    return values if text else [value if value is None else str(value) for value in values]


def _label_values(column: Any, name: str, where: str) -> Any:
    pa = needed("pyarrow", "parquet", "a table")
    if _is_list(pa, column.type):
        return to_array(column, name, lambda row: f"{where}: row {row}")
    values = column.to_pylist()
    if not column.null_count:
        return values if values else np.zeros(0, dtype=np.int64)
    objects = np.empty(len(values), dtype=object)  # keeps None, so that `encode` can report the row
    objects[:] = values
    return objects


def _find_column(names: list[str], requested: str | None, default: str, where: str) -> str | None:
    """Return the requested column, or else the default one in upper or lower case if the table has it."""
    if requested is None:
        matches = [default] if default in names else [name for name in names if name.lower() == default]
        return matches[0] if len(matches) == 1 else None
    if names.count(requested) != 1:
        raise DataError(
            f"{where}: {'no' if requested not in names else 'more than one'} column {requested!r} among {names}",
            expected="the name of exactly one column",
            fix="correct the name, or rename duplicate columns",
        )
    return requested


def _listing(schema: Any, left_out: Sequence[str]) -> str:
    remarks = dict.fromkeys(left_out, " (row numbers)")
    return ", ".join(f"{field.name}: {field.type}{remarks.get(field.name, '')}" for field in schema)
