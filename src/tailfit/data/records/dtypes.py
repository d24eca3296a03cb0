"""Types that records may have: numbers that every backend computes with."""

from typing import Any

import numpy as np

from tailfit.data.records.trees import leaves
from tailfit.errors import DataError

__all__ = ["check_record_type", "check_record_types"]

_FIXES = {
    "c": "split it into real numbers, e.g. np.stack([x.real, x.imag], axis=-1)",
    "M": "convert it to numbers, e.g. hours since the first: (x - x.min()) / np.timedelta64(1, 'h')",
    "m": "convert it to numbers, e.g. hours: x / np.timedelta64(1, 'h')",
    "O": "stack the records into one array, np.stack(records); those of different length with Ragged(records)",
    "V": "make a dict of its fields: {name: x[name] for name in x.dtype.names}",
    "f": "convert it, x.astype('float64')",
}
_TEXT = "encode it as numbers; text that describes a sample is metadata"


def check_record_type(dtype: np.dtype[Any], where: str, error: type[DataError] = DataError) -> None:
    """Refuse a type of records that a network can't be trained on, or could only by losing a part of it.

    Args:
        dtype: Of an array of the records.
        where: What messages call the array.
        error: What to raise.
    Raises:
        DataError: for complex numbers, whose imaginary part backends drop; dates, text, objects and structures.

    >>> check_record_type(np.dtype(np.float16), "x")
    >>> check_record_type(np.dtype(complex), "x")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received x of type complex128. Expected ...
    """
    # bfloat16 and its like are of kind "V", too, but of a class of their own.
    plain = dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8)
    if plain or (dtype.kind == "V" and not issubclass(dtype.type, np.void)):
        return
    raise error(
        f"{where} of type {dtype}",
        expected="records of real numbers: bool, integers, or floats of up to 64 bits",
        fix=_FIXES.get(dtype.kind, _TEXT),
    )


def check_record_types(records: Any, where: str) -> None:
    """As `check_record_type`, of each array in a nest of NumPy's types.

    >>> check_record_types({"a": np.zeros(2), "b": np.array(["x"])}, "from transform")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received x['b'] from transform of type <U1. Expected ...
    """
    for path, leaf in leaves(records):
        dtype = getattr(leaf, "dtype", None)
        if isinstance(dtype, np.dtype):  # tensors have types of their own, which are numbers
            check_record_type(dtype, f"x{path} {where}")
