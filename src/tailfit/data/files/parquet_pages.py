"""The memory that a Parquet file requires according to its footer and page headers.

A header of a few bytes may claim a billion values. polars allocates memory for all of them first, and aborts the
process if there is not enough; pyarrow aborts it where the statistics of a column chunk do not fit the schema. The
headers, in Thrift's compact protocol, are parsed here without reading the pages.

Source: https://github.com/apache/parquet-format, README and parquet.thrift; Thrift's compact protocol specification.
"""

import os
from typing import Any, BinaryIO, Final

__all__ = ["chunk_sizes", "claimed_memory"]

_VALUE_BYTES: Final = 16  # per value during decoding: for text, its offset and length
_MAX_DEPTH: Final = 32
_INFINITE: Final = 1 << 62
# Fields that are counts or lengths in the headers of data pages, dictionary pages and data pages of version 2.
_COUNTS: Final = {5: (1,), 7: (1,), 8: (1, 2, 3, 5, 6)}


def claimed_memory(content: bytes) -> int:
    """Return the bytes that the values of all pages take according to their headers; unparsable parts count as 0.

    >>> import io, polars
    >>> polars.DataFrame({"x": [1.0, 2.0]}).write_parquet(file := io.BytesIO())
    >>> 32 <= claimed_memory(file.getvalue()) < 1000
    True
    """
    try:
        footer = _Compact(content, len(content) - 8 - _footer_length(content)).struct()
        chunks = [chunk[3] for group in footer.get(4, []) for chunk in group[1] if 3 in chunk]
        return sum(_of_chunk(content, chunk) for chunk in chunks)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return 0  # a damaged footer, which polars reports


def chunk_sizes(file: BinaryIO) -> list[list[tuple[int, int]]]:
    """Return the number of values and the uncompressed bytes of each column chunk of each row group.

    Args:
        file: A Parquet file, opened for reading at any position.
    Raises:
        ValueError: If the footer is damaged.

    >>> import io, polars
    >>> polars.DataFrame({"x": [1.0, 2.0], "y": [3, 4]}).write_parquet(file := io.BytesIO())
    >>> [[values for values, size in group if size > 0] for group in chunk_sizes(file)]
    [[2, 2]]
    """
    try:
        end = file.seek(-8, os.SEEK_END)
        length = _footer_length(file.read(8))
        file.seek(end - length)
        groups = _Compact(file.read(length), 0).struct().get(4, [])
        return [[(_whole(chunk[3][5]), _whole(chunk[3][6])) for chunk in group[1]] for group in groups]
    except (IndexError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ValueError("a damaged footer") from error


def _footer_length(tail: bytes) -> int:
    return int.from_bytes(tail[-8:-4], "little")


def _whole(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} values or bytes")
    return number


def _of_chunk(content: bytes, chunk: dict[int, Any]) -> int:
    """Return the bytes for one column of one row group, whose pages are stored consecutively."""
    place = min(chunk[9], chunk.get(11) or chunk[9])
    end, total = place + chunk[7], 0
    while 0 <= place < end:
        reader = _Compact(content, place)
        try:
            page = reader.struct()
            kind = next((kind for kind in _COUNTS if kind in page), 0)
            own: dict[int, Any] = page.get(kind, {})
            if min(page[2], page[3], *(own.get(field, 0) for field in _COUNTS.get(kind, (1,)))) < 0:
                return _INFINITE  # a reader that takes it as unsigned would allocate more than any memory
            total += page[2] + _VALUE_BYTES * own.get(1, 0)
            place = reader.place + page[3]
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):
            break
    return total


class _Compact:
    """A parser of Thrift's compact protocol from an offset on; structs become dicts by field number."""

    def __init__(self, content: bytes, place: int) -> None:
        if not 0 <= place < len(content):
            raise IndexError(place)
        self.content, self.place = content, place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _MAX_DEPTH:
            raise ValueError("structs nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._signed()
            kind = head & 15
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (4, 5, 6):
            return self._signed()
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (7, 8):  # skip a double or a binary
            size = 8 if kind == 7 else self._unsigned()
            self.place += size
            return None
        if kind in (9, 10):
            head = self._byte()
            size = head >> 4 if head >> 4 != 15 else self._unsigned()
            if size > len(self.content):
                raise ValueError("a list longer than the file")
            return [self._value(head & 15, depth + 1) for _ in range(size)]
        if kind == 12:
            return self.struct(depth + 1)
        raise ValueError(f"a value of kind {kind}")

    def _byte(self) -> int:
        self.place += 1
        return self.content[self.place - 1]

    def _unsigned(self) -> int:
        number = shift = 0
        while (byte := self._byte()) >> 7:
            number |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise ValueError("a number of more than 64 bits")
        return number | byte << shift

    def _signed(self) -> int:
        number = self._unsigned()
        return number >> 1 ^ -(number & 1)
