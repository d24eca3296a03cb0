"""Reading and writing of arrays by name in the safetensors format: a length, a JSON header, and the bytes.

Writing streams parts, so that saving copies no arrays. Reading checks the header against the size of the file before it
allocates memory, so that a damaged or forged header can't exhaust the memory.

Source: https://huggingface.co/docs/safetensors, "Format".
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import available_memory, holdable
from tailfit.errors import CheckpointError
from tailfit.storage.json_text import parsed
from tailfit.storage.reading import open_regular

__all__ = ["known", "parts", "read"]

_CODES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "F32": np.dtype("<f4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
}
_NAMES: Final = {dtype: code for code, dtype in _CODES.items()}
_MAX_HEADER: Final = 100_000_000  # bytes, the limit of the reference implementation


def known(dtype: np.dtype[Any]) -> bool:
    """Return whether arrays of this type can be written."""
    return dtype.newbyteorder("<") in _NAMES


def parts(arrays: Mapping[str, NDArray[Any]]) -> Iterator[memoryview]:
    """Yield the contents of a file of arrays, part by part.

    >>> import ml_dtypes
    >>> b"".join(parts({"a": np.array([1, 2], np.uint8)}))[8:].decode("latin-1").rstrip("\\x01\\x02").strip()
    '{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}'
    """
    header, start, contiguous = {}, 0, []
    # In the order of decreasing item size, so that each array is aligned to its item size.
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        contiguous.append(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")))
        stop = start + array.nbytes
        header[name] = {"dtype": _code(name, array.dtype), "shape": list(array.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield memoryview(len(text).to_bytes(8, "little") + text)
    for array in contiguous:
        # As bytes, because the types of ml_dtypes have no buffer format.
        yield memoryview(array.reshape(-1).view(np.uint8).data)


def read(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of a file into memory.

    Raises:
        CheckpointError: If the file is incomplete or not in this format; no memory has been allocated then.
        OSError: If the file can't be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise _invalid(path, f"a header of {length} bytes in a file of {size}")
        entries = _entries(path, file.read(length), size - 8 - length)
        if size > available_memory():
            raise _invalid(path, f"{size} bytes, more than the available memory")
        arrays = {}
        for name, (dtype, shape, start) in entries.items():
            array = np.empty(shape, dtype)
            file.seek(8 + length + start)
            if array.nbytes and file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[arg-type]
                raise _invalid(path, f"the array {name!r} cut off")
            arrays[name] = array
    return arrays


def _entries(path: Path, text: bytes, size: int) -> dict[str, tuple[np.dtype[Any], tuple[int, ...], int]]:
    try:
        header = parsed(text)
        header.pop("__metadata__", None)
        entries = {
            str(name): (_CODES[entry["dtype"]], _sizes(entry["shape"]), *_sizes(entry["data_offsets"], 2))
            for name, entry in header.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(path, f"an invalid header ({type(error).__name__})") from None
    end = 0
    for name, (dtype, shape, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if not holdable(shape, dtype.itemsize):
            raise _invalid(path, f"the array {name!r} of {len(shape)} axes, which no memory holds")
        if start != end or stop - start != math.prod(shape) * dtype.itemsize:
            raise _invalid(path, f"the array {name!r} of shape {shape} at bytes {start} to {stop}")
        end = stop
    if end != size:
        raise _invalid(path, f"{size} bytes of arrays, but {end} according to the header")
    return {name: (dtype, shape, start) for name, (dtype, shape, start, _) in entries.items()}


def _sizes(numbers: Any, count: int | None = None) -> Any:
    sizes = isinstance(numbers, list) and all(type(number) is int and 0 <= number < 1 << 62 for number in numbers)
    if not sizes or count not in (None, len(numbers)):
        raise ValueError("not a list of sizes")
    return tuple(numbers)


def _code(name: str, dtype: np.dtype[Any]) -> str:
    little = dtype.newbyteorder("<")
    if little not in _NAMES:
        raise CheckpointError(
            f"the array {name!r} of type {dtype}",
            expected=f"one of the types {', '.join(map(str, _NAMES))}",
            fix="convert the array to one of these types",
        )
    return _NAMES[little]


def _invalid(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {what}",
        expected="a complete safetensors file",
        fix="delete this checkpoint, so that an older one is used",
    )
