"""TFRecord and ArrayRecord files, whose records (bytes) are read by position.

A TFRecord file is a sequence of (length, CRC, content, CRC) without an index, so one pass over the lengths builds it.
An ArrayRecord file has an index at its end, which the array-record library reads.
"""

import os
import struct
from abc import abstractmethod
from collections.abc import Sequence
from os import PathLike
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.reading import KnownFile, known_files
from tailfit.errors import RecordError
from tailfit.extras import needed
from tailfit.storage.reading import open_regular

__all__ = ["ARRAY_RECORD", "TFRECORD", "ArrayRecordFiles", "RecordFiles", "TFRecordFiles"]

TFRECORD = (".tfrecord", ".tfrecords")
ARRAY_RECORD = (".array_record", ".arrayrecord")
_HEAD = struct.Struct("<QI")  # length, and the CRC of its eight bytes
_CRC = struct.Struct("<I")


class RecordFiles:
    """The records of several files, concatenated.

    Args:
        path: A file, a folder of files, or a list of files.
        suffixes: File name extensions of the files in a folder.
    """

    def __init__(self, path: str | PathLike[str] | Sequence[str | PathLike[str]], suffixes: tuple[str, ...]) -> None:
        self._files: Final = known_files(path, suffixes)
        self._ends: Final = np.cumsum([self._count(number) for number in range(len(self._files))], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1])

    def named(self, index: int) -> str:
        """Return the name of a record in messages: its file, and its number there."""
        owner = int(np.searchsorted(self._ends, index, side="right"))
        return f"{self._files[owner].path}: record {index - (int(self._ends[owner - 1]) if owner else 0)}"

    def read(self, indices: NDArray[np.int64]) -> list[bytes]:
        """Return the content of the records at these positions."""
        owners = np.searchsorted(self._ends, indices, side="right")
        found: list[bytes] = [b""] * len(indices)
        for owner in np.unique(owners).tolist():
            self._files[owner].check()
            rows = np.flatnonzero(owners == owner)
            within = indices[rows] - (int(self._ends[owner - 1]) if owner else 0)
            # In the order of the file, for fewer seeks.
            order = np.argsort(within, kind="stable")
            for row, content in zip(rows[order].tolist(), self._contents(owner, within[order].tolist()), strict=True):
                found[row] = content
        return found

    @abstractmethod
    def _count(self, number: int) -> int:
        """Return the number of records in a file."""

    @abstractmethod
    def _contents(self, number: int, records: list[int]) -> list[bytes]:
        """Return the content of some records of a file, given in ascending order."""

    def _damaged(self, file: KnownFile, what: str, fix: str = "write the file again") -> RecordError:
        return RecordError(f"{file.path}: {what}", expected="an intact file of records", fix=fix)


class TFRecordFiles(RecordFiles):
    """The records of uncompressed TFRecord files, whose checksums are all compared.

    Args:
        path: A file, a folder of `.tfrecord` files, or a list of files.
    """

    def __init__(self, path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> None:
        self._crc: Final = needed("google_crc32c", "records", "a TFRecord file").value
        self._starts: Final[list[NDArray[np.int64]]] = []  # for each file, the offset of each record and the end
        super().__init__(path, TFRECORD)

    def _count(self, number: int) -> int:
        file, place, starts = self._files[number], 0, [0]
        with open_regular(file.path) as opened:
            while place < file.size:
                head = opened.read(_HEAD.size)
                if len(head) < _HEAD.size:
                    raise self._damaged(file, f"truncated in record {len(starts) - 1}")
                length, crc = _HEAD.unpack(head)
                if not self._agrees(head[:8], crc):
                    gzipped = head[:2] == b"\x1f\x8b"
                    raise self._damaged(
                        file,
                        "a compressed file" if gzipped else f"no record, or a damaged one, at byte {place}",
                        "decompress the file, because records of a compressed file can't be found by position"
                        if gzipped
                        else "write the file again",
                    )
                place += _HEAD.size + length + _CRC.size
                if place > file.size:
                    raise self._damaged(file, f"truncated in record {len(starts) - 1}, of {length} bytes")
                starts.append(place)
                opened.seek(place)
        self._starts.append(np.array(starts, dtype=np.int64))
        return len(starts) - 1

    def _contents(self, number: int, records: list[int]) -> list[bytes]:
        file, starts, found = self._files[number], self._starts[number], []
        with open_regular(file.path, buffering=0) as opened:
            for record in records:
                start, stop = int(starts[record]) + _HEAD.size, int(starts[record + 1])
                opened.seek(start)
                body = opened.read(stop - start)
                if len(body) != stop - start or not self._agrees(body[:-4], *_CRC.unpack(body[-4:])):
                    raise self._damaged(file, f"a wrong checksum of record {record}")
                found.append(body[:-4])
        return found

    def _agrees(self, content: bytes, crc: int) -> bool:
        found: int = self._crc(content)
        return ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF == crc


class ArrayRecordFiles(RecordFiles):
    """The records of ArrayRecord files, preferably written with groups of one record.

    Args:
        path: A file, a folder of `.array_record` files, or a list of files.
    """

    def __init__(self, path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> None:
        needed("array_record.python.array_record_module", "records", "an ArrayRecord file")
        self._readers: tuple[int, dict[int, Any]] = (os.getpid(), {})
        super().__init__(path, ARRAY_RECORD)

    def _reader(self, number: int) -> Any:
        """Return the reader of a file in this process; a fork must not share its position in the file."""
        if self._readers[0] != os.getpid():
            self._readers = (os.getpid(), {})
        reader = self._readers[1].get(number)
        if reader is None:
            module = needed("array_record.python.array_record_module", "records", "an ArrayRecord file")
            file = self._files[number]
            try:
                reader = module.ArrayRecordReader(file.path, "readahead_buffer_size:0,max_parallelism:0")
            except RuntimeError as error:
                raise self._damaged(file, str(error).splitlines()[0]) from error
            if not reader.ok():
                raise self._damaged(file, "not an ArrayRecord file, or truncated")
            self._readers[1][number] = reader
        return reader

    def _count(self, number: int) -> int:
        return int(self._reader(number).num_records())

    def _contents(self, number: int, records: list[int]) -> list[bytes]:
        reader = self._reader(number)
        try:
            found: list[bytes] = reader.read(records)
            complete = reader.ok() and len(found) == len(records)
        except (RuntimeError, IndexError, ValueError) as error:
            self._readers[1].pop(number, None)
            raise self._damaged(self._files[number], str(error).splitlines()[0]) from error
        if not complete:  # drop the reader, which returns nothing after a damaged record
            self._readers[1].pop(number, None)
            raise self._damaged(self._files[number], "a damaged record")
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": (0, {})}
