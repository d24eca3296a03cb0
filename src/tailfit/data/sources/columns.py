"""Tables as sources: some columns are the records, one the labels, one the IDs, and the rest metadata.

Concepts:
- *numbers*: a column of integers, floats or booleans, or of lists of them, nested as one likes, all of one length;
  with `ragged` a row's list may be longer than another's, but not the lists in it.
- *images*: a column of encoded images: bytes, or Hugging Face's pairs of bytes and path.
- *records*: the columns of numbers but label and ID; without any, those of images. One of lists or images: the records
  are its arrays. Several, none of lists: the rows of a matrix of one type. Else a dict of arrays by column.
"""

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NoReturn

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.files.images import Decoder, Mode
from tailfit.data.records.finite import DataWarning, FirstLook
from tailfit.data.records.ragged import Ragged
from tailfit.data.source import Numbered, Source, checked_ids, stretches
from tailfit.data.tables.row_numbers import may_number_rows, numbers_rows, told_left_out
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.extras import needed
from tailfit.labels import encode

__all__ = ["Columnar", "Images", "to_array"]

_THREADS, _MAX_PIXELS = 4, 1 << 26  # that decode images, and the largest one
_ROWS = 1 << 12  # read together to know the lengths of their records


class Columnar(Source):
    """A table's rows, of which `_columns` reads those of the records.

    Args:
        schema: Its `pyarrow.Schema`.
        size: Number of rows.
        whole: Reads whole columns as a `pyarrow.Table`.
        where: What messages call the table.
        label, id, columns, image_size, image_mode, class_names, strip, nan, ragged: As of `tailfit.data.Parquet`.
        names_of_codes: Class names that the table itself has for its label column.
    """

    def __init__(
        self,
        schema: Any,
        size: int,
        whole: Callable[[list[str]], Any],
        where: str,
        *,
        label: str | None,
        id: str | None,
        columns: Sequence[str] | None,
        image_size: tuple[int, int] | None,
        image_mode: Mode,
        class_names: Sequence[str] | None,
        strip: bool,
        nan: str,
        ragged: bool,
        names_of_codes: Callable[[str], Sequence[str] | None] = lambda label: None,
    ) -> None:
        self._where: Final = where
        there = list(schema.names)
        label = _named_column(there, label, "label", where)
        key = _named_column(there, id, "id", where)
        if columns is not None and (isinstance(columns, str) or not isinstance(columns, Sequence)):
            raise ArgumentError(f"columns={columns!r}", expected="a list of names", fix=f"pass [{columns!r}]")
        rest = [name for name in there if name not in (label, key)]
        kinds = {name: schema.field(name).type for name in rest}
        numbers = [name for name in rest if _is_numbers(kinds[name])]
        images = [name for name in rest if _is_image(kinds[name])]
        if columns is None:
            self.left_out = tuple(name for name in numbers if _is_single(kinds[name]) and _only_numbers(whole, name))
            numbers = [name for name in numbers if name not in self.left_out]
        chosen = (numbers or images) if columns is None else list(columns)
        for name in chosen:
            _named_column(there, name, name, where)
            if name not in (*numbers, *images):
                raise DataError(
                    f"{where}: column {name!r} of type {kinds.get(name, 'label or ID')} among the records",
                    expected="numbers, lists of numbers, or images",
                    fix="leave it out of columns=: it is metadata then",
                )
        if not chosen:
            raise DataError(
                f"{where}: no column for the records, but {_listing(schema, self.left_out)}",
                expected="columns of numbers, of lists of numbers, or of images",
                fix="pass columns=, label= and id=",
            )
        self._features: Final = chosen
        self._open_lists: Final = [name for name in chosen if _is_open_list(kinds[name])]
        self.ragged = ragged
        if ragged and not self._lists:
            raise DataError(
                f"{where}: ragged=True, while no column of the records is of lists",
                expected="a column of lists of numbers, not of a fixed size, among the records",
                fix="leave it out",
            )
        self._decoders: Final = {
            name: Decoder(image_mode, image_size, _THREADS, _MAX_PIXELS) for name in chosen if name in images
        }
        # Bytes are files of their own (images, sound): gigabytes, which nobody asks metadata for.
        others = [name for name in rest if name not in chosen and not _has_bytes(kinds[name])]
        table = whole([name for name in (key, label, *others) if name is not None])
        ids: Sequence[str] = Numbered(size)
        if key is not None:
            ids = checked_ids(_id_values(table[key], key, where), size)
        labels = None
        if label is not None:
            given = class_names if class_names is not None else names_of_codes(label)
            labels = encode(_label_values(table[label], label, where), class_names=given, ids=ids, strip=strip)
        elif class_names is not None:
            raise ArgumentError("class_names without label", expected="both, or none", fix="pass label=")
        metadata = pl.DataFrame(pl.from_arrow(table.select(others))) if others else None
        if metadata is not None and "id" in metadata.columns:  # a column of another meaning: ids are numbers, or named
            metadata = metadata.rename({"id": "id (column)"})
        if metadata is not None:  # in order already
            metadata = metadata.insert_column(0, pl.Series("id", list(ids), dtype=pl.String))
        super().__init__(ids, labels, metadata)
        if self.left_out:
            warnings.warn(told_left_out(where, self.left_out, "columns=[...]"), DataWarning, stacklevel=4)
        self._look: Final = FirstLook(size, nan, RecordError)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """As `Source.lengths`. Asked for the first time, it reads the records once."""
        return self._lengths if self.ragged else None

    @cached_property
    def _lengths(self) -> NDArray[np.int64]:
        parts = (self._columns(indices) for indices in stretches(0, len(self), _ROWS))
        return np.concatenate([np.zeros(0, np.int64), *(self._steps_in(part) for part in parts)])

    @property
    def _lists(self) -> list[str]:
        """The columns whose lists may differ in length."""
        return self._open_lists if self.ragged else []

    def as_ragged(self) -> Source | None:
        """As `Source.as_ragged`."""
        if self.ragged or not self._open_lists:
            return None
        twin = copy.copy(self)  # what it has read is not copied
        twin.ragged = True
        return twin

    def _steps_in(self, columns: Mapping[str, Any]) -> NDArray[np.int64]:
        steps: NDArray[np.int64] = columns[self._lists[0]].lengths
        return steps

    @abstractmethod
    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        """Fresh arrays of the columns of the records, in the rows at these positions."""

    def _column(self, table: Any, name: str, row: Callable[[int], str]) -> "NDArray[Any] | Ragged | Images":
        """A column of the records as an array; or of images, which are decoded when they are taken."""
        if name in self._lists:
            return _to_ragged(table[name], name, row)
        decoder = self._decoders.get(name)
        return to_array(table[name], name, row) if decoder is None else Images(table[name], name, row, decoder)

    def _read(self, indices: NDArray[np.int64]) -> Any:
        if len(self) and any(decoder.shape is None for decoder in self._decoders.values()):
            self._columns(np.zeros(1, dtype=np.int64))  # the first image tells the size of all
        arrays = self._columns(indices)
        batch: Any = {name: arrays[name] for name in self._features}
        for name in self._lists[1:]:
            differ = arrays[name].lengths != self._steps_in(arrays)
            if differ.any():
                row = int(np.argmax(differ))
                raise RecordError(
                    f"{self._named(int(indices[row]))}: lists of {self._steps_in(arrays)[row]} in column "
                    f"{self._lists[0]!r} and {arrays[name].lengths[row]} in {name!r}",
                    expected="as many steps in all columns of a record",
                    fix="cut or fill them, or leave the column out of columns=",
                )
        if all(len(array.shape) == 1 for array in arrays.values()):
            batch = np.stack(list(batch.values()), axis=1)
        elif len(batch) == 1:
            (batch,) = batch.values()
        self._look.check(indices, batch, self._named)
        return batch

    def _named(self, position: int) -> str:
        return f"{self._where}: the record of ID {self.ids[position]!r}"


class Images:
    """A column of encoded images; the arguments are those of `to_array`."""

    def __init__(self, column: Any, name: str, row: Callable[[int], str], decoder: Decoder) -> None:
        pa, compute = needed("pyarrow", "parquet", "a table"), needed("pyarrow.compute", "parquet", "a table")
        if pa.types.is_struct(column.type):
            column = compute.struct_field(column, "bytes")
        self._contents = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        self._decoder, self._name, self._row = decoder, name, row

    def take(self, rows: NDArray[np.int64], axis: int = 0) -> NDArray[Any]:
        """Those in some rows, decoded."""
        return self._decoder(len(rows), lambda row: self._load(int(rows[row])))

    def _load(self, number: int) -> tuple[bytes, str]:
        content, where = self._contents[number].as_py(), f"{self._row(number)}, column {self._name!r}"
        if content is None:
            raise RecordError(
                f"{where}: no bytes of an image",
                expected="images whose bytes are in the table",
                fix="read files by their paths with ImageFolder",
            )
        return content, where


def to_array(column: Any, name: str, row: Callable[[int], str]) -> NDArray[Any]:
    """A column of numbers as an array, `[rows, ...]`. Nothing in a float column is NaN.

    Args:
        column: `pyarrow.Array` or `ChunkedArray`.
        name: What messages call it.
        row: What they call one of its rows, by number; the table's name first.
    Raises:
        RecordError: for nothing (null) in a column that has no NaN, or lists of different length.
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
                f"{row(other)}: a list of {widths[other]} in column {name!r}",
                expected=f"lists of one length, {width} as in {row(0)}",
                fix="pass ragged=True if records differ in length; or leave the column out of columns=",
            )
    inner = to_array(column.flatten(), name, lambda number: row(number // max(width, 1)))
    return inner.reshape(len(column), width, *inner.shape[1:])


def _to_ragged(column: Any, name: str, row: Callable[[int], str]) -> Ragged:
    """A column of lists as records that differ in length; arguments and errors are those of `to_array`."""
    pa = needed("pyarrow", "parquet", "a table")
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        _refuse_null(column, name, row)
    ends = np.cumsum(column.value_lengths().to_numpy(), dtype=np.int64)
    values = to_array(column.flatten(), name, lambda step: row(int(np.searchsorted(ends, step, side="right"))))
    # Copied: Arrow's memory is read-only.
    return Ragged(values.copy(), np.diff(ends, prepend=0))


def _refuse_null(column: Any, name: str, row: Callable[[int], str]) -> NoReturn:
    raise RecordError(
        f"{row(int(np.argmax(column.is_null())))}: nothing (null) in column {name!r} of type {column.type}",
        expected="a value in each row; in columns of floats nothing is NaN",
        fix="fill or drop the row, or write the column as floats",
    )


def _is_open_list(kind: Any) -> bool:
    pa = needed("pyarrow", "parquet", "a table")
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_list(pa: Any, kind: Any) -> bool:
    return _is_open_list(kind) or bool(pa.types.is_fixed_size_list(kind))


def _is_numbers(kind: Any) -> bool:
    pa = needed("pyarrow", "parquet", "a table")
    if isinstance(kind, pa.BaseExtensionType):
        return _is_numbers(kind.storage_type)
    if _is_list(pa, kind):
        return _is_numbers(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_single(kind: Any) -> bool:
    types = needed("pyarrow", "parquet", "a table").types
    return bool(types.is_integer(kind) or types.is_floating(kind))


def _only_numbers(whole: Callable[[list[str]], Any], name: str) -> bool:
    """Whether a column of numbers has nothing to tell but which row it is in."""
    if not may_number_rows(name):
        return False  # nothing is read for that
    column = whole([name])[name]
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
            f"{where}: column {name!r} of type {kind} for the IDs", expected="text or whole numbers", fix="pass id="
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
    objects = np.empty(len(values), dtype=object)  # for `encode` to name the row
    objects[:] = values
    return objects


def _named_column(there: list[str], wanted: str | None, usual: str, where: str) -> str | None:
    """The wanted column, which must be there; without a wish the usual one, `ID` as `id`, if it is there."""
    if wanted is None:
        alike = [usual] if usual in there else [name for name in there if name.lower() == usual]
        return alike[0] if len(alike) == 1 else None
    if there.count(wanted) != 1:
        raise DataError(
            f"{where}: {'no' if wanted not in there else 'more than one'} column {wanted!r}, but {there}",
            expected="the name of one of its columns",
            fix="correct the name",
        )
    return wanted


def _listing(schema: Any, left_out: Sequence[str]) -> str:
    told = dict.fromkeys(left_out, ", which numbers the rows")
    return ", ".join(f"{field.name}: {field.type}{told.get(field.name, '')}" for field in schema)
