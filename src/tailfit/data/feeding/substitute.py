"""Reading on past records that can't be read: each is replaced by another of its batch, and written down."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.source import Source
from tailfit.errors import DataError

__all__ = ["Substitute"]


class Substitute:
    """Reads batches of a source, the records that can't be read replaced by the next one of the batch that can.

    What a batch becomes depends on its own records only, so batches stay a pure function of their place in the run.

    Attributes:
        skipped: What is wrong with each record that was met and can't be read, by ID.
    """

    def __init__(self, source: Source) -> None:
        self.source: Final = source
        self.skipped: Final[dict[str, str]] = {}
        self._bad: Final = np.zeros(len(source), dtype=np.bool_)

    def read(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
        """The positions that were read in the place of these, and their records.

        Raises:
            DataError: if not one of them can be read.
        """
        while True:
            chosen = self._without_bad(indices)
            try:
                return chosen, self.source._read(chosen)
            except DataError:
                if not self._find_bad(chosen):
                    raise  # of the batch as such

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
                expected="one readable record a batch, at least, with on_error='skip'",
                fix="restore the files",
            )
        good = np.flatnonzero(~bad)
        return indices[good[np.searchsorted(good, np.arange(len(indices))) % len(good)]]
