"""Check of the dtypes of records, which must be numbers that every backend supports."""

from typing import Any

import numpy as np

from tailfit.data.records.trees import leaves
from tailfit.errors import DataError

__all__ = ["check_record_type", "check_record_types"]

_FIXES = {
    "c": "split it into real numbers, for example np.stack([x.real, x.imag], axis=-1)",
    "M": "convert it to numbers, for example hours since the first: (x - x.min()) / np.timedelta64(1, 'h')",
    "m": "convert it to numbers, for example hours: x / np.timedelta64(1, 'h')",
    "O": "use np.stack(records), or Ragged(records) if they differ in length",
    "V": "pass a dict of its fields, {name: x[name] for name in x.dtype.names}",
    "f": "convert it with x.astype('float64')",
}
_TEXT_FIX = "encode the text as numbers, or pass it as metadata if it describes the sample"


def check_record_type(dtype: np.dtype[Any], where: str, error: type[DataError] = DataError) -> None:
    """Check that a network can be trained on records of a dtype without loss of information.

    Args:
        dtype: Dtype of an array of the records.
        where: Name of the array in messages.
        error: Class of the error to raise.
    Raises:
        DataError: If the dtype is complex (backends drop the imaginary part), or dates, text, objects or structures.

    >>> check_record_type(np.dtype(np.float16), "x")
    >>> check_record_type(np.dtype(complex), "x")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received x of type complex128. Expected ...
    """
    # bfloat16 and similar types also have kind "V", but are not np.void.
    standard = dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8)
    if standard or (dtype.kind == "V" and not issubclass(dtype.type, np.void)):
        return
    raise error(
        f"{where} of type {dtype}",
        expected="records of real numbers: bool, integers, or floats of up to 64 bits",
        fix=_FIXES.get(dtype.kind, _TEXT_FIX),
    )


def check_record_types(records: Any, where: str) -> None:
    """Check the dtype of each array in a nest; see `check_record_type`.

    >>> check_record_types({"a": np.zeros(2), "b": np.array(["x"])}, "from transform")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received x['b'] from transform of type <U1. Expected ...
    """
    for path, leaf in leaves(records):
        dtype = getattr(leaf, "dtype", None)
        if isinstance(dtype, np.dtype):  # dtypes of tensors are numbers, and not np.dtype
            check_record_type(dtype, f"x{path} {where}")
