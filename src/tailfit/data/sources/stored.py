"""Base of sources whose records, labels and IDs are named arrays in one store: an HDF5 file, a Zarr group, an `.npz`.

The positions of a batch are sorted and deduplicated before they are read, so that records in the same chunk are decoded
together. Records that fit into memory are loaded once and kept.
"""

import math
import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import available_memory, fits_in_memory, holdable
from tailfit.data.records.dtypes import check_record_type
from tailfit.data.records.finite import FirstReadCheck
from tailfit.data.records.trees import leaves, map_tree
from tailfit.data.source import Numbered, Source, checked_ids, index_chunks
from tailfit.data.tables.labels import UnreadLabel
from tailfit.data.tables.metadata import Metadata, metadata_of
from tailfit.errors import ArgumentError, DataError, RecordError
from tailfit.labels import encode

__all__ = ["Stored"]

_LOAD_CHUNK_BYTES = 1 << 24  # read at once when all records are loaded
_CLASS_NAMES = ("class_names", "y_names")  # arrays with the names of the classes


class Stored(Source):
    """Arrays of a store whose first axis counts the samples.

    Args:
        where: Path of the store.
        x, y, ids, metadata, class_names, id, strip, memory, nan: See `tailfit.data.HDF5`.
    """

    def __init__(
        self,
        where: str,
        x: Any,
        y: str | None,
        ids: str | None,
        metadata: Metadata | None,
        *,
        class_names: Sequence[str] | None,
        id: str | None,
        strip: bool,
        memory: bool | Literal["auto"],
        nan: str,
    ) -> None:
        self._where: Final = where
        x = "X" if x == "x" and not self._has("x") and self._has("X") else x
        y = next((name for name in ("y", "Y") if self._has(name)), None) if y is None else y
        y = None if isinstance(y, UnreadLabel) else y
        ids = "ids" if ids is None and self._has("ids") else ids
        self._x: Final = map_tree(str, x)
        names = [name for _, name in leaves(self._x)]
        if not names:
            raise ArgumentError(
                f"x={x!r}", expected="the name of an array, or a nest of names", fix="pass one name at least"
            )
        for option, name in (("y", y), ("ids", ids)):
            if not (name is None or isinstance(name, str)):
                raise ArgumentError(f"{option}={name!r}", expected="the name of an array", fix="pass one string")
        shapes = {name: self._checked(name) for name in dict.fromkeys([*names, *filter(None, (y, ids))])}
        sizes = {name: shape[0] for name, (shape, _) in shapes.items()}
        if len(set(sizes.values())) != 1:
            raise RecordError(
                f"{where}: arrays of different length ({', '.join(f'{name}: {n}' for name, n in sizes.items())})",
                expected="one label and one ID per record",
                fix="write the file again, or pass the names of arrays of equal length",
            )
        size = sizes[names[0]]
        self._specs: Final = {name: shapes[name] for name in names}
        for name in names:
            check_record_type(shapes[name][1], f"{where}: array {name!r}", RecordError)
        sample_ids: Sequence[str] = Numbered(size)
        if ids is not None:
            with self._errors_with(ids):
                sample_ids = checked_ids(self._texts(ids), size)
        labels = None
        if y is not None:
            names_of_classes = self._stored_class_names() if class_names is None else class_names
            with self._errors_with(y):
                labels = encode(self._label_values(y), class_names=names_of_classes, ids=sample_ids, strip=strip)
        elif class_names is not None:
            raise ArgumentError(
                "class_names= without y=",
                expected="both or neither",
                fix="pass y=, the name of the array of labels, or drop class_names=",
            )
        super().__init__(sample_ids, labels, metadata_of(metadata, sample_ids, id))
        total = sum(math.prod(shape) * dtype.itemsize for shape, dtype in self._specs.values())
        self.in_memory = fits_in_memory(total, memory)
        self._record_bytes: Final = max(total // max(size, 1), 1)
        self._nan_check: Final = FirstReadCheck(size, nan, RecordError)
        self._lock = threading.Lock()
        self._arrays: dict[str, NDArray[Any]] | None = None

    @abstractmethod
    def _has(self, name: str) -> bool:
        """Return whether the store has an array of this name."""

    @abstractmethod
    def _names(self) -> list[str]:
        """Return the names of all arrays."""

    @abstractmethod
    def _describe(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return an array's shape and dtype; refuse an array that is incomplete or unsafe to read."""

    @abstractmethod
    def _rows(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return a new array with these rows, sorted and unique, in native byte order."""

    @abstractmethod
    def _whole(self, name: str) -> NDArray[Any]:
        """Return a whole array of labels or IDs; text as `str`, `bytes` or NumPy strings."""

    def _checked(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        if not self._has(name):
            raise DataError(
                f"{self._where}: no array {name!r}; it contains {sorted(self._names())[:20]}",
                expected="the name of an array in the store",
                fix="pass existing names as x=, y= and ids=",
            )
        shape, dtype = self._describe(name)
        if not shape:
            raise RecordError(
                f"{self._where}: array {name!r} of shape ()",
                expected="an array whose first axis counts the samples",
                fix="pass the name of a different array",
            )
        # A lower bound of the memory needed: a byte for each sample, and one whole record.
        least = max(shape[0], math.prod(shape[1:]) * dtype.itemsize)
        if not holdable(shape, dtype.itemsize) or least > available_memory():
            raise RecordError(
                f"{self._where}: array {name!r} of {f'shape {shape}' if len(shape) < 9 else f'{len(shape)} axes'}",
                expected="records that fit into memory one by one, and fewer samples than bytes of memory",
                fix="check the file, which may be damaged",
            )
        return shape, dtype

    def _all_of(self, name: str) -> NDArray[Any]:
        shape, dtype = self._describe(name)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes > available_memory():
            raise RecordError(
                f"{self._where}: array {name!r} of shape {shape}, {nbytes} bytes",
                expected="labels and IDs that fit into memory",
                fix="check the file, which may be damaged",
            )
        return self._whole(name)

    @contextmanager
    def _errors_with(self, name: str) -> Iterator[None]:
        """Name the store and one of its arrays in errors about the values of the array."""
        try:
            yield
        except RecordError:  # which begins with the path
            raise
        except DataError as error:
            raise DataError(
                f"{self._where}: array {name!r}: {error.received}", expected=error.expected, fix=error.fix
            ) from error

    def _stored_class_names(self) -> tuple[str, ...] | None:
        """Return the names of the classes in the store, if it has them."""
        found = next((name for name in _CLASS_NAMES if self._has(name)), None)
        if found is None:
            return None
        shape, _ = self._checked(found)
        names = self._texts(found) if len(shape) == 1 else []
        if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise RecordError(
                f"{self._where}: array {found!r} of shape {shape}: {names if len(names) < 9 else names[:8]!r:.200}",
                expected="different names of the classes, in the order of their indices",
                fix=f"write {found!r} again, or pass class_names=",
            )
        return tuple(names)

    def _texts(self, name: str) -> list[Any]:
        return [self._text(value, name) for value in self._all_of(name).tolist()]

    def _text(self, value: Any, name: str) -> Any:
        if not isinstance(value, bytes):
            return str(value) if isinstance(value, int) else value
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            # Not decoded with replacement characters, which could make two names equal.
            raise RecordError(
                f"{self._where}: {value!r} in array {name!r}",
                expected="text in UTF-8",
                fix="write the array again in UTF-8",
            ) from error

    def _label_values(self, name: str) -> Any:
        values = self._all_of(name)
        if values.ndim != 1 or values.dtype.kind not in "OSUT":
            return values
        return [self._text(value, name) for value in values.tolist()]

    def _read(self, indices: NDArray[np.int64]) -> Any:
        arrays, places = self._arrays, indices
        if self.in_memory and arrays is None:
            with self._lock:
                arrays = self._arrays = self._arrays or {name: self._loaded(name) for name in self._specs}
        if arrays is None:
            rows, places = np.unique(indices, return_inverse=True)
            arrays = {name: self._rows(name, rows) for name in self._specs}
        batch = map_tree(lambda name: arrays[name].take(places, axis=0), self._x)
        self._nan_check.check(indices, batch, self._named)
        return batch

    def _loaded(self, name: str) -> NDArray[Any]:
        shape, dtype = self._specs[name]
        whole = np.empty(shape, dtype.newbyteorder("="))
        for rows in index_chunks(0, len(self), max(_LOAD_CHUNK_BYTES // self._record_bytes, 1)):
            whole[rows[0] : rows[-1] + 1] = self._rows(name, rows)
        return whole

    def _named(self, position: int) -> str:
        return f"{self._where}: the record of ID {self.ids[position]!r}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_arrays": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())
