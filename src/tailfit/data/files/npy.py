"""Reader of single `.npy` files, which checks the header against the file's size before it allocates memory.

The records of a data set usually have identical headers. So the header of the first file is parsed, and each other file
is read by a single `preadv` into (header, row, one extra byte). Equal header bytes and an exact length prove that
shape, dtype and order are the same. If they differ, a slower path parses the header and reports what is wrong. Object
arrays contain pickles and are refused; nothing is ever unpickled.
"""

import ast
import math
import os
import re
import struct
from dataclasses import dataclass
from typing import IO, Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import available_memory, holdable
from tailfit.errors import RecordError
from tailfit.storage.reading import open_regular

__all__ = ["Header", "map_array", "parse_header", "read_array", "read_body", "read_header", "read_row", "stored_dtype"]

_MAGIC = b"\x93NUMPY"
_LENGTH = {1: "<H", 2: "<I", 3: "<I"}  # struct format of the header's length in versions 1.0, 2.0 and 3.0
_MAX_HEADER = 10_000  # NumPy's own limit, because ast.literal_eval is not safe on longer input
_CODE = re.compile(r"[<>|=][biufcmMOSUV]\d*(\[\w+\])?")  # of a type: byte order, kind, size, unit of time
_OPEN = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_PIECE_BYTES = 1 << 24  # read at once; members of zip files are copied by piece


@dataclass(frozen=True)
class Header:
    """The header of a `.npy` file.

    Attributes:
        raw: The bytes of the file before its data.
        shape, dtype: Shape and dtype of the array.
        fortran: Whether the data are in Fortran order.
    """

    raw: bytes
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def nbytes(self) -> int:
        """Bytes of data, exact for any shape because Python integers don't overflow."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"shape {self.shape}, type {self.dtype}"


def read_header(path: str) -> Header:
    """Return the header of a file, and check that the size of the file matches it.

    Raises:
        RecordError: If the file is missing, unreadable, empty, not a `.npy` file, pickled, truncated, or longer than
            its header states. The message begins with the path.
    """
    with _opened(path) as file:
        return parse_header(file, path)


def read_row(path: str, row: NDArray[Any], reference: Header, reference_path: str) -> None:
    """Read a file with the reference's shape and dtype into `row`, a C-contiguous array in native byte order.

    Raises:
        RecordError: See `read_header`; also if shape or dtype differs from the reference.
    """
    if not (_PREADV and _read_exactly(path, row, reference)):
        _read_slowly(path, row, reference, reference_path)


def read_array(path: str) -> NDArray[Any]:
    """Read a whole file.

    Raises:
        RecordError: See `read_header`; also if the array does not fit into memory.
    """
    with _opened(path) as file:
        header = parse_header(file, path)
        if header.nbytes > available_memory():
            _refuse(path, f"{header.nbytes} bytes, which do not fit into memory", fix="use a smaller file")
        return read_body(file, path, header)


def map_array(path: str) -> NDArray[Any]:
    """Memory-map the array in a file, read-only; an empty array, which can't be mapped, is created instead.

    Raises:
        RecordError: See `read_header`.
    """
    header = read_header(path)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    if not header.nbytes:
        return np.empty(header.shape, header.dtype, order)
    return np.memmap(path, header.dtype, "r", len(header.raw), header.shape, order)


_PREADV = hasattr(os, "preadv")


def _read_exactly(path: str, row: NDArray[Any], reference: Header) -> bool:
    """Read the file into `row`; return whether it has exactly the reference's header, and data of the right length."""
    if reference.fortran or not reference.dtype.isnative:
        return False
    head, more = bytearray(len(reference.raw)), bytearray(1)
    try:
        # O_NONBLOCK, so that a pipe that replaced the file can't block the reader.
        descriptor = os.open(path, _OPEN | _NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        got = os.preadv(descriptor, (head, _as_bytes(row), more), 0)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return got == len(head) + row.nbytes and head == reference.raw


def _read_slowly(path: str, row: NDArray[Any], reference: Header, reference_path: str) -> None:
    with _opened(path) as file:
        header = parse_header(file, path)
        same_kind = header.dtype.newbyteorder("=") == reference.dtype.newbyteorder("=")
        if header.shape != reference.shape or not same_kind:
            raise RecordError(
                f"{path}: {header}",
                expected=f"{reference} as in the first file, {reference_path}",
                fix="save all records with one shape and dtype, or pass ragged=True if they differ in length",
            )
        row[...] = read_body(file, path, header)


def read_body(file: IO[bytes], path: str, header: Header) -> NDArray[Any]:
    """Read the data of an array from an open file, whose position is after the header.

    Raises:
        RecordError: If the file ends before the data do.
    """
    body, place = bytearray(header.nbytes), 0
    view = memoryview(body)
    while place < header.nbytes:
        count = file.readinto(view[place : place + _PIECE_BYTES])  # type: ignore[attr-defined]
        if not count:
            _refuse(path, "truncated while it was read", fix="do not write to a data set that is in use")
        place += count
    array: NDArray[Any] = np.frombuffer(body, dtype=header.dtype)
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def _as_bytes(row: NDArray[Any]) -> Any:
    # reshape first, because a memoryview of shape () can't be cast, and dtypes such as datetime64 have no buffer.
    return row.reshape(-1).view(np.uint8).data


def _opened(path: str) -> IO[bytes]:
    try:
        return open_regular(path, follow=False)
    except RecordError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise RecordError(
            f"{path}: no such file", expected="an existing .npy file", fix="restore the file, or drop its record"
        ) from error


def parse_header(file: IO[bytes], path: str, size: int | None = None) -> Header:
    """Parse the header of an open file; see `read_header`.

    Args:
        file: The file, at its start.
        path: Name in messages.
        size: Size of the file in bytes; None to ask the system.
    """
    try:
        size = os.fstat(file.fileno()).st_size if size is None else size
        start = file.read(8)
        if not start:
            _refuse(path, "an empty file")
        if start[:6] != _MAGIC[: len(start)]:
            _refuse(path, "not a .npy file", fix="write the file with numpy.save")
        length_type = _LENGTH.get(start[6]) if len(start) == 8 and start[7] == 0 else None
        if len(start) == 8 and length_type is None:
            _refuse(path, f"the unknown .npy version {start[6]}.{start[7]}", fix="write the file with numpy.save")
        length_bytes = file.read(struct.calcsize(length_type or "<H"))
        if length_type is None or len(length_bytes) != struct.calcsize(length_type):
            _refuse(path, f"truncated in its header (it has {size} bytes)")
        (length,) = struct.unpack(length_type, length_bytes)
        if length > _MAX_HEADER:
            _refuse(path, f"a header of {length} bytes", fix="write the file with numpy.save")
        text = file.read(length)
        if len(text) != length:
            _refuse(path, f"truncated in its header (it has {size} bytes)")
    except RecordError:  # raised above; it is also an OSError
        raise
    except OSError as error:
        _refuse(path, error.strerror or str(error))
    shape, dtype, fortran = _fields(text, path, "latin1" if start[6] < 3 else "utf8")
    header = Header(start + length_bytes + text, shape, dtype, fortran)
    expected = len(header.raw) + header.nbytes
    if size != expected:
        _refuse(
            path,
            f"{'truncated' if size < expected else 'too long'}: {size} bytes for {header}, which needs {expected}",
        )
    if not holdable(shape, dtype.itemsize):  # with sizes of 0 or 1, the size of the file may still be right
        _refuse(path, f"an array of {len(shape)} axes that is too large for any memory")
    return header


def _fields(text: bytes, path: str, encoding: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    try:
        fields = ast.literal_eval(text.decode(encoding))
        shape, fortran = fields["shape"], fields["fortran_order"]
        dtype = stored_dtype(fields["descr"])
        valid = len(fields) == 3 and isinstance(fortran, bool) and isinstance(shape, tuple)
        valid = valid and all(type(size) is int and 0 <= size < 1 << 63 for size in shape)
    except (ValueError, SyntaxError, TypeError, KeyError, IndexError, MemoryError, RecursionError):
        valid = False
    if not valid:
        _refuse(path, "a damaged header", fix="write the file again with numpy.save")
    if dtype.hasobject:
        _refuse(
            path,
            "an object array, which is a pickle, and unpickling can run any code in the file",
            fix="save numbers, for example np.save(path, np.asarray(record, dtype='float32'))",
        )
    return shape, dtype, fortran


def stored_dtype(descr: Any) -> np.dtype[Any]:
    """Return the dtype for the description that NumPy writes to a file: a code such as "<f8", or a list of fields.

    NumPy itself accepts many other spellings, and warns about some of them.

    Raises:
        ValueError, TypeError, IndexError: If the description is invalid.

    >>> stored_dtype("<f8"), stored_dtype([("a", "<i4")])
    (dtype('float64'), dtype([('a', '<i4')]))
    """
    if not all(_CODE.fullmatch(code) for code in _codes(descr)):
        raise ValueError(f"the type {descr!r:.60}")
    return np.lib.format.descr_to_dtype(descr)


def _codes(descr: Any) -> list[str]:
    if isinstance(descr, list):
        return [code for field in descr for code in _codes(field[1])]
    return _codes(descr[0]) if isinstance(descr, tuple) else [descr]


def _refuse(path: str, what: str, fix: str = "write the file again, or drop its record") -> NoReturn:
    raise RecordError(f"{path}: {what}", expected="an intact .npy file of numbers", fix=fix)
