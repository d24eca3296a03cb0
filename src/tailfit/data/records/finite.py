"""NaN and infinity in records: found per batch as it is read, so that no epoch trains on them unseen."""

import warnings
from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves
from tailfit.errors import ArgumentError, DataError
from tailfit.text import TailfitWarning

__all__ = ["DataWarning", "FirstLook", "Look", "NanPolicy", "checked_policy", "finite_records", "first_not_finite"]

NanPolicy = Literal["raise", "warn", "keep"]


class DataWarning(TailfitWarning):
    """A record is not as it should be, and the user asked to go on."""


def checked_policy(nan: str) -> NanPolicy:
    """The policy, if it is one."""
    for policy in get_args(NanPolicy):
        if nan == policy:
            return policy  # type: ignore[no-any-return]
    raise ArgumentError(
        f"nan={nan!r}",
        expected="'raise', 'warn' or 'keep'",
        fix="use nan='keep' where the model handles missing readings",
    )


class Look:
    """Looks at every batch by a policy: refuses its records with NaN or infinity, warns of the first one, or lets be.

    Args:
        nan: The policy.
        error: What to raise.
    Raises:
        ArgumentError: for an unknown policy.
    """

    def __init__(self, nan: str, error: type[DataError] = DataError) -> None:
        self._policy: Final = checked_policy(nan)
        self._error: Final = error
        # Over with the first warning: one a source says as much as one a record, and inspect() lists them all.
        self.over = self._policy == "keep"

    def check(self, indices: NDArray[np.int64], batch: Any, named: Callable[[int], str]) -> None:
        """Judge the nest `batch` of the records at `indices`; `named` says which one a position is.

        Raises:
            DataError: naming the record and the array.
        """
        if self.over:
            return
        for path, leaf in leaves(batch):
            found = first_not_finite(leaf)
            if found is None:
                continue
            row, what = found
            where = f"{named(int(indices[row]))}: {what} in {f'x{path}' if path else 'the record'}"
            fix = "fill or drop the record, or pass nan='keep' where the model handles it"
            if self._policy == "raise":
                raise self._error(where, expected="finite values", fix=fix)
            self.over = True
            warnings.warn(
                f"{where}. It may not be the only one: tailfit.data.inspect lists them. Fix: {fix}.",
                DataWarning,
                stacklevel=5,
            )
            return


class FirstLook(Look):
    """Looks at each record when it is read for the first time, and not again: that costs a third of reading it.

    Args:
        size: Number of records.
        nan: The policy.
        error: What to raise.
    """

    def __init__(self, size: int, nan: str, error: type[DataError] = DataError) -> None:
        super().__init__(nan, error)
        self._known = np.zeros(0 if self.over else size, dtype=np.bool_)
        self._looked = 0  # records, since `_known` was last looked through

    def check(self, indices: NDArray[np.int64], batch: Any, named: Callable[[int], str]) -> None:
        """As `Look.check`, of the records that were not looked at before."""
        if self.over or self._known[indices].all():
            return
        super().check(indices, batch, named)
        self._known[indices] = True
        self._looked += len(indices)
        if self._looked >= len(self._known):
            # Once in as many records as there are, which costs each next to nothing.
            self._looked = 0
            self.over = self.over or bool(self._known.all())


def first_not_finite(batch: NDArray[Any] | Ragged) -> tuple[int, str] | None:
    """The first record of a batch with a NaN or an infinity in it, and which of them it is.

    >>> first_not_finite(np.array([[0.0, 1.0], [np.inf, 1.0]]))
    (1, 'an infinity')
    """
    values = batch.values if isinstance(batch, Ragged) else batch
    if values.dtype.kind not in "fc" or values.size == 0:
        return None
    # A sum is finite only if every term is: one pass without a temporary, and NaN or infinity never cancel
    # out. The reverse does not hold (large values overflow), so a bad sum only leads to the exact look.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return None
    bad = ~finite_records(batch)
    if not bad.any():
        return None
    row = int(np.argmax(bad))
    return row, "NaN" if np.isnan(batch[row]).any() else "an infinity"


def finite_records(batch: NDArray[Any] | Ragged) -> NDArray[np.bool_]:
    """Whether each record of a batch is free of NaN and infinity, `bool[n]`.

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
