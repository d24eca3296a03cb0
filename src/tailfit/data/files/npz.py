"""Reader of `.npz` files: zip files of `.npy` files, as `numpy.savez` and `numpy.savez_compressed` write them.

The data of an uncompressed array stand in the file as they are, so its rows are read from their place. A compressed
array is decompressed as a whole. Sizes are checked before memory is allocated, and decompression ends at the size that
the zip directory states. Nothing is unpickled.
"""

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import DEFLATE_RATIO, available_memory
from tailfit.data.files.npy import Header, parse_header, read_body
from tailfit.errors import RecordError
from tailfit.storage.reading import open_regular

__all__ = ["Member", "array_names", "describe_array", "read_array_of", "read_rows_of"]

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # NumPy's; decompression of the others is not bounded
_LOCAL_HEADER = struct.Struct("<26xHH")  # lengths of name and extra field; the data follow these


@dataclass(frozen=True)
class Member:
    """An array of an `.npz` file.

    Attributes:
        name: Its name, without `.npy`.
        header: Shape, dtype and order.
        start: Place of the data in the file in bytes; None if they are compressed.
    """

    name: str
    header: Header
    start: int | None

    @property
    def by_row(self) -> bool:
        """Whether rows can be read one by one: uncompressed, in C order."""
        return self.start is not None and not self.header.fortran


def array_names(path: str) -> list[str]:
    """Return the names of all arrays.

    Raises:
        RecordError: If the file can't be read, is not a zip file, or has two arrays of one name. The message begins
            with the path.
    """
    with _archive(path) as (_, archive):
        names = [info.filename.removesuffix(".npy") for info in archive.infolist() if info.filename.endswith(".npy")]
    repeated = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if repeated is not None:
        raise _refusal(f"{path}: two arrays {repeated!r}")
    return names


def describe_array(path: str, name: str) -> Member:
    """Return shape, dtype and place of an array.

    Raises:
        RecordError: If the array is damaged, encrypted, contains objects, or is compressed by another method than
            NumPy's. The message begins with the path and names the array.
    """
    with _archive(path) as (file, archive), _opened(path, archive, name) as (info, member):
        header = parse_header(member, f"{path}: array {name!r}", info.file_size)
        if info.compress_type != zipfile.ZIP_STORED:
            return Member(name, header, None)
        file.seek(info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size)))
        if info.compress_size != info.file_size or start + info.file_size > os.fstat(file.fileno()).st_size:
            raise _refusal(f"{path}: array {name!r} truncated")
        return Member(name, header, start + len(header.raw))


def read_array_of(path: str, name: str) -> NDArray[Any]:
    """Read a whole array, and verify its checksum.

    Raises:
        RecordError: See `describe_array`; also if the array does not fit into memory.
    """
    with _archive(path) as (_, archive), _opened(path, archive, name) as (info, member):
        where = f"{path}: array {name!r}"
        header = parse_header(member, where, info.file_size)
        if header.nbytes > available_memory():
            raise RecordError(
                f"{where} of {header.nbytes} bytes",
                expected="an array that fits into memory, or records in an uncompressed .npz, which are read by row",
                fix="write the records with numpy.savez in C order, or to an .npy file, and pass memory=False",
            )
        array = read_body(member, where, header)
        member.read(1)  # the end of the file, where the checksum of an empty array is verified, too
        return array


def read_rows_of(path: str, member: Member, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Read some rows of an array with `by_row`, sorted and unique, in native byte order.

    Raises:
        RecordError: If the file is truncated. The message begins with the path.
    """
    header = member.header
    out = np.empty((len(rows), *header.shape[1:]), header.dtype)
    size = out.nbytes // max(len(rows), 1)
    # Runs of adjacent rows are read at once.
    begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    ends = np.append(begins[1:], len(rows))
    view = out.reshape(-1).view(np.uint8).data
    with open_regular(path, buffering=0) as file:
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=False):
            file.seek((member.start or 0) + int(rows[begin]) * size)
            part = view[begin * size : end * size]
            while part:
                count = file.readinto(part)
                if not count:
                    raise _refusal(f"{path}: array {member.name!r} truncated while it was read")
                part = part[count:]
    return out.astype(header.dtype.newbyteorder("="), copy=False)


@contextmanager
def _archive(path: str) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield file, archive
        except RecordError:
            raise
        except Exception as error:  # of damaged zip files: zipfile's, zlib's, struct's, the system's
            what = (str(error).splitlines() or [type(error).__name__])[0]
            raise _refusal(f"{path}: {what}") from error


@contextmanager
def _opened(path: str, archive: zipfile.ZipFile, name: str) -> Iterator[tuple[zipfile.ZipInfo, IO[bytes]]]:
    where = f"{path}: array {name!r}"
    try:
        info = archive.getinfo(f"{name}.npy")
        if info.compress_type not in _METHODS:
            raise _refusal(f"{where} with compression method {info.compress_type}")
        if info.file_size > info.compress_size * DEFLATE_RATIO or info.compress_size > os.stat(path).st_size:
            raise _refusal(f"{where} of {info.file_size} bytes, compressed to {info.compress_size} bytes")
        with archive.open(info) as member:
            yield info, member
    except RecordError as error:  # of the reader of .npy files, whose advice is about a file of its own
        if "object array" in error.received:
            raise RecordError(
                error.received,
                expected="arrays of numbers, and names as arrays of text",
                fix="save numbers, for example np.asarray(x, 'float32'), and names as np.asarray(y, str)",
            ) from error
        if error.expected.startswith("an intact .npy"):
            raise _refusal(error.received) from error
        raise
    except Exception as error:  # see _archive; with the name of the array
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise _refusal(f"{where}: {what}") from error


def _refusal(received: str) -> RecordError:
    return RecordError(received, expected="an intact .npz file", fix="write the file again with numpy.savez")
