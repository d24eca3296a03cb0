"""Checks of records for NaN and infinity, done on each batch as it is read."""

import warnings
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves, map_tree
from tailfit.errors import ArgumentError, DataError
from tailfit.text import TailfitWarning

__all__ = [
    "DataWarning",
    "FirstReadCheck",
    "NanPolicy",
    "ReadCheck",
    "WindowCheck",
    "checked_policy",
    "finite_records",
    "first_not_finite",
]

NanPolicy = Literal["raise", "warn", "keep"]


class DataWarning(TailfitWarning):
    """A problem in the data that does not stop the program, such as NaN under `nan="warn"`."""


def checked_policy(nan: str) -> NanPolicy:
    """Return the policy if it is valid."""
    for policy in get_args(NanPolicy):
        if nan == policy:
            return policy  # type: ignore[no-any-return]
    raise ArgumentError(
        f"nan={nan!r}",
        expected="'raise', 'warn' or 'keep'",
        fix="pass nan='keep' if the model handles missing values, else nan='raise'",
    )


class ReadCheck:
    """A check of every batch for NaN and infinity: `"raise"` an error, `"warn"` once, or `"keep"` the values.

    Args:
        nan: The policy.
        error: Class of the error to raise.
    Raises:
        ArgumentError: If the policy is unknown.
    """

    def __init__(self, nan: str, error: type[DataError] = DataError) -> None:
        self._policy: Final = checked_policy(nan)
        self._error: Final = error
        # Also set after the first warning: one warning per source is enough, and inspect() lists all records.
        self.done = self._policy == "keep"

    def check(self, indices: NDArray[np.int64], batch: Any, named: Callable[[int], str]) -> None:
        """Check the batch of the records at `indices`; `named` returns the name of a position in messages.

        Raises:
            DataError: If a value is not finite; the message names the record and the array.
        """
        if self.done:
            return
        for path, leaf in leaves(batch):
            found = first_not_finite(leaf)
            if found is None:
                continue
            row, what = found
            where = f"{named(int(indices[row]))}: {what} in {f'x{path}' if path else 'the record'}"
            fix = "fill or drop the record, or pass nan='keep' if the model handles it"
            if self._policy == "raise":
                raise self._error(where, expected="finite values", fix=fix)
            self.done = True
            warnings.warn(
                f"{where}. Other records may be affected; tailfit.data.inspect lists them all. Fix: {fix}.",
                DataWarning,
                stacklevel=5,
            )
            return


class FirstReadCheck(ReadCheck):
    """A check of each record only when it is first read, because a check takes a third of the time of a read.

    Args:
        size: Number of records.
        nan: The policy.
        error: Class of the error to raise.
    """

    def __init__(self, size: int, nan: str, error: type[DataError] = DataError) -> None:
        super().__init__(nan, error)
        self._checked = np.zeros(0 if self.done else size, dtype=np.bool_)
        self._count = 0  # records checked since the last scan of `_checked`

    def check(self, indices: NDArray[np.int64], batch: Any, named: Callable[[int], str]) -> None:
        """Check the batch if it contains records not checked before; see `ReadCheck.check`."""
        if self.done or self._checked[indices].all():
            return
        super().check(indices, batch, named)
        self._checked[indices] = True
        self._count += len(indices)
        if self._count >= len(self._checked):
            # Scanning the flags only once per `size` records keeps the amortised cost per record constant.
            self._count = 0
            self.done = self.done or bool(self._checked.all())


class WindowCheck:
    """A check of windows of records, which looks only into those of records that contain NaN or infinity.

    Args:
        nan: The policy.
        error: Class of the error to raise.
    """

    def __init__(self, nan: str, error: type[DataError] = DataError) -> None:
        self._check: Final = ReadCheck(nan, error)
        self._finite: NDArray[np.bool_] | None = None  # of each record
        self._all_finite = False

    @property
    def done(self) -> bool:
        """Whether no window needs a check any more."""
        return self._check.done or self._all_finite

    def check(self, records: NDArray[np.int64], windows: Any, named: Callable[[int], str], whole: Any = None) -> None:
        """Check a batch of windows; see `ReadCheck.check`.

        Args:
            records: The record of each window.
            windows: The windows.
            named: Function that returns the name of a record in messages.
            whole: All records, if they are in memory.
        """
        if self.done:
            return
        if whole is not None:
            if self._finite is None:
                self._finite = np.logical_and.reduce([finite_records(leaf) for _, leaf in leaves(whole)])
                self._all_finite = bool(self._finite.all())
            chosen = np.flatnonzero(~self._finite[records])
            if not len(chosen):
                return
            records, windows = records[chosen], map_tree(lambda leaf: leaf[chosen], windows)
        self._check.check(records, windows, named)


def first_not_finite(batch: NDArray[Any] | Ragged) -> tuple[int, str] | None:
    """Return the first record of a batch with NaN or infinity, and which of both it is; else None.

    >>> first_not_finite(np.array([[0.0, 1.0], [np.inf, 1.0]]))
    (1, 'an infinity')
    """
    values = batch.values if isinstance(batch, Ragged) else batch
    if values.dtype.kind not in "fc" or values.size == 0:
        return None
    # A sum is finite only if every term is, because NaN and infinity never cancel out; it takes one pass without a
    # temporary array. The reverse does not hold (large values overflow), so other sums lead to the exact check.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return None
    bad = ~finite_records(batch)
    if not bad.any():
        return None
    row = int(np.argmax(bad))
    return row, "NaN" if np.isnan(batch[row]).any() else "an infinity"


def finite_records(batch: NDArray[Any] | Ragged) -> NDArray[np.bool_]:
    """Return whether each record of a batch is free of NaN and infinity, `bool[n]`.

    >>> finite_records(np.array([[1.0, np.nan], [1.0, 2.0]])).tolist()
    [False, True]
    """
    values = batch.values if isinstance(batch, Ragged) else batch
    if values.dtype.kind not in "fc":
        return np.ones(len(batch), dtype=np.bool_)
    finite: NDArray[np.bool_] = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not isinstance(batch, Ragged):
        return finite
    owners = np.searchsorted(batch.offsets, np.flatnonzero(~finite), side="right") - 1
    whole: NDArray[np.bool_] = np.bincount(owners, minlength=len(batch)) == 0
    return whole
