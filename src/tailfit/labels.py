"""Labels of every form, encoded as class indices or as a matrix.

Concepts:
- *class indices* (codes): `int64[n]`, the class of each sample, `0 <= code < num_classes`.
- *one-hot*: `[n, C]` of 0 and 1, each row summing to one. It is encoded as class indices.
- *soft*: `[n, C]` in [0, 1], each row summing to one: a distribution over classes.
- *multi-label*: `[n, C]` of 0 and 1 in which some row has several ones. Rows of zeros are allowed.

A 0/1 matrix whose rows sum to one *or zero* is refused: it is far more often a one-hot matrix with missing labels than
a multi-label matrix, and Keras' argmax would silently assign class 0 to the rows of zeros.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ArgumentError, DataError
from tailfit.names import check_names, invalid_names

__all__ = ["Encoded", "checked_probabilities", "class_key", "encode", "encode_codes", "encode_labels_of", "source_of"]

Kind = Literal["codes", "soft", "multi-label"]
_ROW_SUM_TOLERANCE = 1e-3  # enough for float16 soft labels of 1000 classes


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded labels.

    Attributes:
        kind: `"codes"` (class indices, also for one-hot matrices), `"soft"` or `"multi-label"`.
        values: `int64[n]` for class indices, else `float32[n, C]`.
        class_names: C names; the class indices as strings if the labels had no names.
    """

    kind: Kind
    values: NDArray[Any]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_names(self.class_names, "class name", "rename the class")

    def take(self, rows: NDArray[np.int64]) -> "Encoded":
        """Return the labels of some samples, with all class names."""
        return Encoded(self.kind, self.values[rows], self.class_names)

    @property
    def num_classes(self) -> int:
        """C, including classes without samples."""
        return len(self.class_names)

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Number of samples of each class, `float64[C]`; the expected number for soft labels."""
        if self.kind == "codes":
            return np.bincount(self.values, minlength=self.num_classes).astype(np.float64)
        totals: NDArray[np.float64] = self.values.sum(axis=0, dtype=np.float64)
        return totals


def encode(
    y: Any,
    *,
    class_names: Sequence[str] | None = None,
    num_classes: int | None = None,
    what: str = "labels",
    ids: Sequence[str] | None = None,
    strip: bool = False,
) -> Encoded:
    """Encode labels of any form as class indices or as a matrix.

    Args:
        y: Class indices `[n]` or `[n, 1]`, strings `[n]`, or a one-hot, soft or multi-label matrix `[n, C]`.
        class_names: Names of the C classes, in the order of their indices; other strings are refused. Without it,
            strings get indices in sorted order.
        num_classes: C, needed if the last classes have no samples.
        what: Name of the labels in messages.
        ids: ID of each row, for messages.
        strip: Whether to strip white space around labels and `class_names`, so that `"ok "` is `"ok"`.
    Raises:
        DataError: If the labels are invalid; the message names the first such row.

    >>> encode(["leak", "ok", "leak"]).values.tolist()
    [0, 1, 0]
    >>> encode([[0, 1], [1, 0]]).values.tolist()
    [1, 0]
    >>> encode(["ok", "ok "], strip=True).class_names
    ('ok',)
    """
    names = _checked_names(class_names, num_classes, what)
    encoded = _encode(y, names, num_classes, _Subject(what, ids), strip)
    return _stripped(encoded) if strip else encoded


def _encode(
    y: Any, names: tuple[str, ...] | None, num_classes: int | None, subject: "_Subject", strip: bool
) -> Encoded:
    what = str(subject)
    array = _as_array(y, subject)
    if array.ndim == 0:
        raise DataError(
            f"{what} of type {type(y).__name__}",
            expected="one label per sample",
            fix="pass the labels as a list or an array",
        )
    if array.dtype == object:
        array = _from_objects(array, subject)
    if array.ndim == 2 and array.shape[1] == 1 and not _is_text(array):
        array = array[:, 0]
    if array.ndim == 2 and not _is_text(array):
        return _encode_matrix(array, names, num_classes, subject)
    if array.ndim != 1:
        raise DataError(
            f"{what} of shape {array.shape}",
            expected="one label per sample, shape [n], or a matrix of shape [n, classes]",
            fix="flatten labels per time step or pixel to one axis",
        )
    if _is_text(array):
        return _encode_text(array, names, num_classes, subject, strip)
    return _encode_integers(array, names, num_classes, subject)


def encode_codes(
    y: Any, *, class_names: Sequence[str] | None = None, num_classes: int | None = None, what: str = "labels"
) -> Encoded:
    """Encode labels that have exactly one class per sample; see `encode`.

    Raises:
        DataError: If the labels are invalid, soft or multi-label; the message names the first such row.

    >>> encode_codes([2, 0, 2]).class_counts.tolist()
    [1.0, 0.0, 2.0]
    """
    encoded = encode(y, class_names=class_names, num_classes=num_classes, what=what)
    if encoded.kind == "codes":
        return encoded
    row = int(np.argmax((encoded.values > 0).sum(axis=1) != 1))
    raise DataError(
        f"{what} whose row {row} is {_row(encoded.values[row])} ({encoded.kind})",
        expected="one class per sample: class indices, names, or one-hot rows",
        fix="pass one class index per sample, e.g. y.argmax(axis=1) for the most probable class",
    )


def source_of(y: Any) -> Any | None:
    """Return the source that `y` is or reads from; None if `y` is not a source or Batches.

    Sources and Batches are defined in a module that imports this one, so they are recognised by their attributes:
    a source has `labels`, Batches have `source`.
    """
    # A part of a source has both attributes, its `source` being the whole: `labels` comes first.
    if hasattr(y, "labels"):
        return y
    return source_of(y.source) if hasattr(y, "source") else None


def encode_labels_of(y: Any, *, class_names: Sequence[str] | None = None, num_classes: int | None = None) -> Encoded:
    """Encode the labels of `y`: labels of any form (see `encode`), a source, or Batches.

    Raises:
        ArgumentError: If `class_names` or `num_classes` contradict the source.
        DataError: If the labels are invalid, or there are none.
    """
    source = source_of(y)
    if source is None:
        encoded = encode(y, class_names=class_names, num_classes=num_classes)
    else:
        encoded = _encode_source(source, class_names, num_classes)
    if not len(encoded.values):
        raise DataError("no labels", expected="at least one sample", fix="check the source or the split")
    return encoded


def _encode_source(source: Any, class_names: Sequence[str] | None, num_classes: int | None) -> Encoded:
    if source.labels is None:
        raise DataError(
            f"{source!r} without labels",
            expected="a labelled source",
            fix="open the source with its labels (labels=, label= or y=)",
        )
    names = getattr(source, "class_names", None) or class_names
    for what, given, same in (
        ("class_names", class_names, class_names is None or list(class_names) == list(names or ())),
        ("num_classes", num_classes, num_classes is None or not names or num_classes == len(names)),
    ):
        if not same:
            raise ArgumentError(
                f"{what}={given!r} for a source with the classes {', '.join(map(repr, names or ()))}",
                expected="the classes of the source",
                fix=f"omit {what}, or set the class names where the source is opened",
            )
    encoded = getattr(source, "encoded", None)
    if isinstance(
        encoded, Encoded
    ):  # already encoded as a whole: a part alone may look one-hot where all is multi-label
        return encoded
    return encode(source.labels, class_names=names, num_classes=num_classes)


def checked_probabilities(rows: Any, *, what: str = "probabilities") -> NDArray[np.float64]:
    """Return probabilities of C >= 2 exclusive classes as `float64[n, C]`, checked to be in [0, 1] and to sum to one.

    Raises:
        DataError: If the probabilities are invalid; the message names the first such row.

    >>> checked_probabilities([[0.25, 0.75]]).tolist()
    [[0.25, 0.75]]
    """
    try:
        array = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.ndim != 2 or array.shape[1] < 2:
        raise DataError(
            f"{what} of shape {np.shape(rows)}",
            expected="a matrix of shape [n, C] with one column per class, C >= 2",
            fix="pass the output of predict for a model with C >= 2 outputs",
        )
    good = ((array >= 0) & (array <= 1 + _ROW_SUM_TOLERANCE)).all(axis=1)  # False for NaN too
    good &= np.abs(array.sum(axis=1) - 1) <= _ROW_SUM_TOLERANCE
    if not good.all():
        row = int(np.argmin(good))
        raise DataError(
            f"{what} whose row {row} is {_row(array[row])}",
            expected="numbers in [0, 1] that sum to one",
            fix="apply a softmax to logits, or pass from_logits=True where the function has this argument",
        )
    return array


def class_key(key: Any) -> str | int | None:
    """Return a key of a table by class as a name or a class index; None if it is neither.

    Whole floats are class indices, as in `dict(zip(np.unique(y), weights))` for float labels; True and False are not.

    >>> class_key(np.str_("leak")), class_key(np.int64(2)), class_key(2.0), class_key(1.5), class_key(True)
    ('leak', 2, 2, None, None)
    """
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return int(key)
    if isinstance(key, float | np.floating) and np.isfinite(key) and key == np.floor(key):
        return int(key)
    return None


@dataclass(frozen=True)
class _Subject:
    """The name of the labels in messages, and of one row of them."""

    what: str
    ids: Sequence[str] | None = None

    def __str__(self) -> str:
        return self.what

    def row(self, row: int) -> str:
        named = "" if self.ids is None or row >= len(self.ids) else f" (ID {self.ids[row]!r})"
        return f"{self.what} whose row {row}{named}"


def _checked_names(class_names: Sequence[str] | None, num_classes: int | None, what: str) -> tuple[str, ...] | None:
    if class_names is None:
        return None
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise DataError(f"class_names={class_names!r}", expected="a sequence of names", fix="put the names in a list")
    names = tuple(str(name) for name in class_names)
    check_names(names, "class name", "rename the class")
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise DataError(
            f"class_names with {repeated[0]!r} twice", expected="different names", fix="rename one of the two classes"
        )
    if num_classes is not None and num_classes != len(names):
        raise DataError(
            f"{len(names)} class_names and num_classes={num_classes} for the {what}",
            expected="as many names as classes",
            fix="omit num_classes, which follows from class_names",
        )
    return names


def _as_array(y: Any, what: _Subject) -> NDArray[Any]:
    if np.ma.is_masked(y):
        row = int(np.nonzero(np.ma.getmaskarray(y))[0][0])
        raise DataError(
            f"{what.row(row)} is masked", expected="a label for every sample", fix="label the sample or remove it"
        )
    try:
        array = np.asarray(y)
    except ValueError as error:
        raise _ragged(what) from error
    if _is_text(array) and array.ndim == 1 and not isinstance(y, np.ndarray):
        # As objects: NumPy would turn a missing label (NaN) into the string "nan", and drop trailing NULs of names.
        array = np.fromiter(y, dtype=object, count=len(array))
    return array


def _ragged(what: _Subject) -> DataError:
    return DataError(
        f"{what} with rows of unequal length",
        expected="a rectangular array",
        fix="give every row one column per class",
    )


def _is_text(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "UT"


def _from_objects(array: NDArray[Any], what: _Subject) -> NDArray[Any]:
    """Convert an array of objects, as made from mixed lists, pandas columns and polars strings."""
    flat = array.ravel()
    text = [isinstance(value, str) for value in flat]
    if all(text):
        _check_texts(flat.tolist(), what)
        return array.astype(str)
    missing = [value is None for value in flat]
    if any(text) or any(missing):
        odd = missing.index(True) if any(missing) else text.index(False)
        raise DataError(
            f"{what.row(odd // (flat.size // len(array)))} is {flat[odd]!r}, while other labels are of another type",
            expected="all strings or all numbers, none missing",
            fix="give every sample a label of the same type",
        )
    try:
        return np.asarray(array.tolist())
    except ValueError as error:
        raise _ragged(what) from error


def _check_texts(texts: list[str], what: _Subject) -> None:
    for odd in invalid_names(texts)[:1]:
        check_names([odd], f"{what.row(texts.index(odd))} is", "rename the class")


def _encode_text(
    array: NDArray[Any], names: tuple[str, ...] | None, num_classes: int | None, what: _Subject, strip: bool
) -> Encoded:
    found, codes = np.unique(array, return_inverse=True)
    if invalid_names(found.tolist()):
        _check_texts(array.tolist(), what)
    if strip:
        found, merged = np.unique([name.strip() for name in found.tolist()], return_inverse=True)
        codes = merged[codes]
    codes = codes.reshape(-1).astype(np.int64)
    if names is None:
        names = tuple(str(name) for name in found)
        if num_classes is not None and num_classes != len(names):
            raise DataError(
                f"{what} with {len(names)} names and num_classes={num_classes}",
                expected="as many names as classes",
                fix="pass class_names, which names the classes without samples, too",
            )
        return Encoded("codes", codes, names)
    position = {name.strip() if strip else name: code for code, name in enumerate(names)}
    unknown = [str(name) for name in found if str(name) not in position]
    if unknown:
        row = int(np.argmax(codes == found.tolist().index(unknown[0])))
        near = unknown[0].strip() in position
        raise DataError(
            f"{what.row(row)} is {unknown[0]!r}",
            expected=f"one of the class names {', '.join(map(repr, names))}",
            fix="pass strip=True to strip the white space"
            if near
            else "add the name to class_names, or correct the label",
        )
    table = np.array([position[str(name)] for name in found], dtype=np.int64)
    return Encoded("codes", table[codes], names)


def _stripped(encoded: Encoded) -> Encoded:
    """Strip white space around class names, and merge classes whose names are equal then."""
    each = [name.strip() for name in encoded.class_names]
    codes = {name: code for code, name in enumerate(dict.fromkeys(each))}
    names, place = tuple(codes), np.array([codes[name] for name in each], dtype=np.int64)
    if encoded.kind == "codes":
        return Encoded("codes", place[encoded.values], names)
    joined = np.add if encoded.kind == "soft" else np.maximum
    rows = np.zeros((len(encoded.values), len(names)), encoded.values.dtype)
    for column, target in enumerate(place.tolist()):
        rows[:, target] = joined(rows[:, target], encoded.values[:, column])
    return Encoded(encoded.kind, rows, names)


def _encode_integers(
    array: NDArray[Any], names: tuple[str, ...] | None, num_classes: int | None, what: _Subject
) -> Encoded:
    if array.dtype.kind not in "iub":
        odd = np.ones(1, dtype=np.bool_)
        if array.dtype.kind == "f":
            # NaN and infinity fail the comparison; beyond 2**62 a float may not survive as int64.
            odd = ~(np.abs(array) < 2.0**62) | (array != np.floor(array))
        elif array.dtype == object:  # integers beyond 64 bits, or other objects
            odd = np.array([not isinstance(value, int) or abs(value) >= 1 << 62 for value in array], dtype=np.bool_)
        if odd.any():
            row = int(np.argmax(odd))
            raise DataError(
                f"{what.row(row)} is {array[row]}" if array.size else f"{what} of type {array.dtype}",
                expected="class indices (integers) or class names (strings)",
                fix="give every sample the index or the name of its class",
            )
    codes = array.astype(np.int64)
    if array.dtype.kind == "u" and codes.size and codes.min() < 0:
        raise DataError(f"{what} beyond 2**63", expected="class indices from 0", fix="number the classes from 0")
    given = len(names) if names is not None else num_classes
    count = given if given is not None else (int(codes.max()) + 1 if codes.size else 0)
    if codes.size and (codes.min() < 0 or codes.max() >= count):  # without a mask, which is slow for 10**8 labels
        row = int(np.argmax((codes < 0) | (codes >= count)))
        raise DataError(
            f"{what.row(row)} is {int(codes[row])}",
            expected=f"class indices from 0 to {count - 1}" if given is not None else "class indices from 0",
            fix="number the classes from 0, or pass class names as labels",
        )
    if given is None and count > max(1024, 64 * codes.size):
        # A single stray index such as 10**9 would allocate gigabytes for the table of classes.
        row = int(np.argmax(codes))
        raise DataError(
            f"{what.row(row)} is {int(codes[row])}, of {codes.size} samples",
            expected="class indices from 0 without large gaps",
            fix="number the classes 0 to C - 1, or pass num_classes if the gaps are on purpose",
        )
    return Encoded("codes", codes, names if names is not None else tuple(map(str, range(count))))


def _as_floats(array: NDArray[Any]) -> NDArray[np.float32]:
    """Convert to float32; what is not a real number becomes NaN, and what float32 can't hold infinity."""
    with np.errstate(over="ignore"):
        if array.dtype.kind not in "cO":
            return array.astype(np.float32)
        return (
            np.array([_as_float(value) for value in array.ravel()], np.float64).reshape(array.shape).astype(np.float32)
        )


def _as_float(value: Any) -> float:
    try:
        # NumPy would drop an imaginary part.
        return math.nan if isinstance(value, complex | np.complexfloating) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _encode_matrix(
    array: NDArray[Any], names: tuple[str, ...] | None, num_classes: int | None, what: _Subject
) -> Encoded:
    columns = array.shape[1]
    expected = len(names) if names is not None else num_classes
    if expected is not None and expected != columns:
        raise DataError(
            f"{what} with {columns} columns for {expected} classes",
            expected="one column per class",
            fix="pass one class name per column, in the order of the columns",
        )
    names = names if names is not None else tuple(map(str, range(columns)))
    values = _as_floats(array)
    inside = (values >= 0) & (values <= 1)  # False for NaN too
    if not inside.all():
        row = int(np.argmax(~inside.all(axis=1)))
        raise DataError(
            f"{what.row(row)} is {_row(array[row])}",
            expected="indicators or probabilities from 0 to 1, none missing",
            fix="normalise the row, or pass class indices",
        )
    sums = values.sum(axis=1, dtype=np.float64)
    whole = bool(np.all((values == 0) | (values == 1)))
    off = np.abs(sums - 1) > _ROW_SUM_TOLERANCE
    if whole and not off.any():
        return Encoded("codes", values.argmax(axis=1).astype(np.int64), names)
    if whole and (sums > 1).any():
        return Encoded("multi-label", values, names)
    if off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"{what.row(row)} is {_row(array[row])}, which sums to {sums[row]:g}",
            expected="one-hot or soft rows that sum to one, or multi-label rows of 0 and 1, some with several ones",
            fix="correct the row or remove the sample",
        )
    return Encoded("soft", values, names)


def _row(row: NDArray[Any]) -> str:
    shown = ", ".join(map(_shown, row[:8].tolist()))
    return f"[{shown}{', ...' if len(row) > 8 else ''}]"


def _shown(value: Any) -> str:
    plain = isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)
    return f"{value:g}" if plain else f"{value!r:.20}"
