"""What a Parquet file claims that reading it takes, told from the headers of its pages alone.

A header of a few bytes may claim a billion values. What reads Parquet asks for their memory first, and where there is
less, the process ends instead of an error. The headers are in Thrift's compact protocol, read here field by field.

Source: https://github.com/apache/parquet-format, README and parquet.thrift; Thrift's compact protocol specification.
"""

from typing import Any, Final

__all__ = ["claimed_memory"]

_VALUE: Final = 16  # bytes that a value takes while it is decoded: of text, its place and length
_DEEPEST: Final = 32
_ENDLESS: Final = 1 << 62
# Fields that are numbers or lengths: of a data page, of a dictionary's, of a data page of version 2.
_COUNTS: Final = {5: (1,), 7: (1,), 8: (1, 2, 3, 5, 6)}


def claimed_memory(content: bytes) -> int:
    """Bytes that the values of all pages take, by their headers; what can't be understood counts nothing.

    >>> import io, polars
    >>> polars.DataFrame({"x": [1.0, 2.0]}).write_parquet(file := io.BytesIO())
    >>> 32 <= claimed_memory(file.getvalue()) < 1000
    True
    """
    try:
        length = int.from_bytes(content[-8:-4], "little")
        footer = _Compact(content, len(content) - 8 - length).struct()
        chunks = [chunk[3] for group in footer.get(4, []) for chunk in group[1] if 3 in chunk]
        return sum(_of_chunk(content, chunk) for chunk in chunks)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError):
        return 0  # damaged where every reader of the format looks first: it will say so


def _of_chunk(content: bytes, chunk: dict[int, Any]) -> int:
    """Of one column in one group of rows: its pages stand end to end."""
    place = min(chunk[9], chunk.get(11) or chunk[9])
    end, total = place + chunk[7], 0
    while 0 <= place < end:
        reader = _Compact(content, place)
        try:
            page = reader.struct()
            kind = next((kind for kind in _COUNTS if kind in page), 0)
            own: dict[int, Any] = page.get(kind, {})
            if min(page[2], page[3], *(own.get(field, 0) for field in _COUNTS.get(kind, (1,)))) < 0:
                return _ENDLESS  # read without its sign it is a number beyond any memory
            total += page[2] + _VALUE * own.get(1, 0)
            place = reader.place + page[3]
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):
            break
    return total


class _Compact:
    """Reads Thrift's compact protocol from a place on: structs as dicts by the number of the field."""

    def __init__(self, content: bytes, place: int) -> None:
        if not 0 <= place < len(content):
            raise IndexError(place)
        self.content, self.place = content, place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("structs without end")
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
        if kind in (7, 8):  # a fraction, a text: passed over
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
