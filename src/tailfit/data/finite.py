"""NaN and infinity in records: found per batch as it is read, so that no epoch trains on them unseen."""

from collections.abc import Callable
from typing import Any, Literal, NoReturn, get_args

import numpy as np
from numpy.typing import NDArray

from tailfit.data.trees import leaves
from tailfit.errors import ArgumentError, DataError

__all__ = ["FirstLook", "NanPolicy", "check_finite", "checked_policy"]

NanPolicy = Literal["raise", "keep"]


def checked_policy(nan: str) -> NanPolicy:
    """The policy, if it is one."""
    for policy in get_args(NanPolicy):
        if nan == policy:
            return policy  # type: ignore[no-any-return]
    raise ArgumentError(
        f"nan={nan!r}", allowed="'raise' or 'keep'", mend="use nan='keep' where the model handles missing readings"
    )


class FirstLook:
    """Looks at each record when it is read for the first time, and not again: that costs a third of reading it.

    Args:
        size: Number of records.
        nan: The policy.
    Raises:
        ArgumentError: for an unknown one.
    """

    def __init__(self, size: int, nan: str) -> None:
        self._raises = checked_policy(nan) == "raise"
        self._known = np.zeros(size if self._raises else 0, dtype=np.bool_)

    def check(self, indices: NDArray[np.int64], batch: Any, named: Callable[[int], str]) -> None:
        """Refuse a record of the nest `batch` with a NaN or an infinity in it; `named` says which a position is.

        Raises:
            DataError: naming the record and the array.
        """
        if not self._raises or self._known[indices].all():
            return
        for path, leaf in leaves(batch):

            def refuse(row: int, what: str, path: str = path) -> NoReturn:
                raise DataError(
                    f"{named(int(indices[row]))}: {what} in x{path}",
                    allowed="finite values",
                    mend="fill or drop the record, or pass nan='keep' where the model handles it",
                )

            check_finite(leaf, refuse)
        self._known[indices] = True


def check_finite(batch: NDArray[Any], refuse: Callable[[int, str], NoReturn]) -> None:
    """Call `refuse(row, what)` for the first row of a batch with a NaN or an infinity in it."""
    if batch.dtype.kind not in "fc" or batch.size == 0:
        return
    # A sum is finite only if every term is: one pass without a temporary, and NaN or infinity never cancel
    # out. The reverse does not hold (large values overflow), so a bad sum only leads to the exact look.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(batch.sum()):
            return
    bad = ~np.isfinite(batch).reshape(len(batch), -1).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        refuse(row, "NaN" if np.isnan(batch[row]).any() else "an infinity")
