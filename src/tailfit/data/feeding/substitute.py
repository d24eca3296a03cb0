"""Replacement of unreadable records by readable ones of the same batch, for `on_error="skip"`."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.source import Source
from tailfit.errors import DataError

__all__ = ["Substitute"]


class Substitute:
    """A reader of batches that replaces each unreadable record by the next readable one of its batch.

    The result depends only on the batch's own records, so a batch remains a pure function of (seed, epoch, step).

    Attributes:
        skipped: Error message of each unreadable record found so far, by ID.
    """

    def __init__(self, source: Source) -> None:
        self.source: Final = source
        self.skipped: Final[dict[str, str]] = {}
        self._bad: Final = np.zeros(len(source), dtype=np.bool_)

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
        """Return the positions read instead of these, and their records.

        Raises:
            DataError: If no record of the batch can be read.
        """
        while True:
            chosen = self._without_bad(indices)
            try:
                return chosen, self.source._read(chosen)
            except DataError:
                if not self._find_bad(chosen):
                    raise  # every record is readable by itself, so the error is about the batch

    def _find_bad(self, indices: NDArray[np.int64]) -> bool:
        found = False
        for position in np.unique(indices).tolist():
            try:
                self.source._read(np.array([position]))
            except DataError as error:
                self.skipped[self.source.ids[position]] = str(error)
                self._bad[position] = found = True
        return found

    def _without_bad(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        bad = self._bad[indices]
        if not bad.any():
            return indices
        if bad.all():
            name = self.source.ids[int(indices[0])]
            raise DataError(
                f"a batch of {len(indices)} records, none of which can be read; the first: {self.skipped[name]}",
                expected="at least one readable record per batch with on_error='skip'",
                fix="restore the files",
            )
        good = np.flatnonzero(~bad)
        return indices[good[np.searchsorted(good, np.arange(len(indices))) % len(good)]]
