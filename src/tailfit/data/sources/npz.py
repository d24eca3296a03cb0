"""An `.npz` file as a source."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.npz import Member, array_names, describe_array, read_array_of, read_rows_of
from tailfit.data.files.reading import KnownFile
from tailfit.data.sources.stored import Stored
from tailfit.data.tables.metadata import Metadata
from tailfit.errors import ArgumentError

__all__ = ["Npz"]


class Npz(Stored):
    """Arrays of an `.npz` file, as `numpy.savez` writes it, whose first axis counts the samples.

    Records written by `numpy.savez` are read by row. Those of `numpy.savez_compressed` are always loaded into memory.

    Args:
        path: Path of the file.
        x: Name of the array of records, or an arbitrarily nested dict, tuple or list of names. By default `"x"`, or
            `"X"` if there is no `"x"`.
        y: Name of the array of labels; by default `"y"` or `"Y"` if it exists. See `HDF5`.
        ids, metadata, class_names, id, strip, memory, nan: See `HDF5`.
    Shapes: `read(indices)` returns the nest of `x` with first axis `n`, in the arrays' units and native byte order.
    Raises:
        RecordError: If the file is missing, truncated, damaged, encrypted, or has changed, or if an array contains
            objects. The message begins with the path.
        DataError: If a named array does not exist, or IDs or labels are invalid.
        ArgumentError: If `memory=False` and the records are compressed, or not in C order.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/pumps.npz", X=np.eye(3), y=["ok", "leak", "ok"])
    ...     source = Npz(f"{folder}/pumps.npz")
    ...     source.read([2, 0]).tolist(), source.class_names
    ([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], ('leak', 'ok'))
    """

    def __init__(
        self,
        path: str | PathLike[str],
        x: Any = "x",
        y: str | None = None,
        ids: str | None = None,
        metadata: Metadata | None = None,
        *,
        class_names: Sequence[str] | None = None,
        id: str | None = None,
        strip: bool = False,
        memory: bool | Literal["auto"] = "auto",
        nan: str = "raise",
    ) -> None:
        self._file: Final = KnownFile.of(path)
        self._stored_names: Final = tuple(array_names(self._file.path))
        self._members: Final[dict[str, Member]] = {}
        super().__init__(
            self._file.path, x, y, ids, metadata, class_names=class_names, id=id, strip=strip, memory=memory, nan=nan
        )
        whole = [name for name in self._specs if not self._members[name].by_row]
        if whole and memory is False:
            raise ArgumentError(
                f"memory=False for array {whole[0]!r} of {self._file.path}, which is compressed or in Fortran order",
                expected="records that can be read by row",
                fix="drop memory=, or write the file with numpy.savez in C order",
            )
        self.in_memory = self.in_memory or bool(whole)

    def _has(self, name: str) -> bool:
        return name in self._stored_names

    def _names(self) -> list[str]:
        return list(self._stored_names)

    def _describe(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        if name not in self._members:
            self._file.check()
            self._members[name] = describe_array(self._file.path, name)
        header = self._members[name].header
        return header.shape, header.dtype

    def _rows(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        self._file.check()
        return read_rows_of(self._file.path, self._members[name], rows)

    def _loaded(self, name: str) -> NDArray[Any]:
        whole = self._whole(name)
        return np.ascontiguousarray(whole, whole.dtype.newbyteorder("="))

    def _whole(self, name: str) -> NDArray[Any]:
        self._file.check()
        return read_array_of(self._file.path, name)
