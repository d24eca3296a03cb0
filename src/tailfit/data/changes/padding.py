"""Records of different length brought to one, and a mask of what is theirs: what a network can take in a batch."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.changes.sensors import OfRecords
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves, map_tree
from tailfit.errors import ArgumentError, DataError

__all__ = ["Pad"]

_MASKS = (None, "input", "channel")


@dataclass(frozen=True, kw_only=True)
class Pad(OfRecords):
    """Fills records up at their end, to one length in a batch, for `Mapped` or as `.transform` for `Batches`.

    Args:
        to: The lengths that batches may have, one or several: the least that holds the batch's longest record. A
            network is traced once for each. None: that of the longest record, perhaps another one in each batch.
        value: What the records are filled up with. `keras.layers.Masking(mask_value=value)` skips the steps that have
            it in every channel; choose one that no real step has.
        mask: None: records only. `"input"`: `(records, mask)`, the mask `bool[n, steps]`, True where a step is the
            record's own: a second input of the network, which hands it to a layer as `layer(x, mask=mask)`.
            `"channel"`: a last channel more, 1 where a step is the record's own and 0 in the padding.
    Shapes: A `Ragged` of `[steps, ...]` to `[n, length, ...]`, in the units and type of the records; other arrays of a
        nest stay as they are.
    Raises:
        ArgumentError: for lengths that are no whole numbers >= 1, or an unknown mask.
        DataError: when called with a record that is longer than the last of `to`, or without records to pad; for
            `"channel"`, with records without channels.

    >>> records = Ragged([np.array([[5.0], [6.0]]), np.array([[7.0]])])
    >>> Pad(to=[3, 8], mask="channel")(records).tolist()
    [[[5.0, 1.0], [6.0, 1.0], [0.0, 0.0]], [[7.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
    >>> x, mask = Pad(mask="input")(records)
    >>> x.shape, mask.tolist()
    ((2, 2, 1), [[True, True], [True, False]])
    """

    to: int | Sequence[int] | None = None
    value: float = 0.0
    mask: Literal["input", "channel"] | None = None

    def __post_init__(self) -> None:
        if self.mask not in _MASKS:
            raise ArgumentError(f"mask={self.mask!r}", expected=f"one of {_MASKS}", fix="leave it out")
        if self.to is not None:
            object.__setattr__(self, "to", _checked_lengths(self.to))

    def __call__(self, x: Any) -> Any:
        """Padded records."""
        ragged = [leaf for _, leaf in leaves(x) if isinstance(leaf, Ragged)]
        if not ragged:
            raise DataError(
                f"records of the types {[type(leaf).__name__ for _, leaf in leaves(x)]}",
                expected="records of different length, a Ragged",
                fix="leave Pad out where all records have one length",
            )
        lengths = ragged[0].lengths
        if any(not np.array_equal(lengths, other.lengths) for other in ragged[1:]):
            raise DataError(
                "a nest whose arrays differ in steps within a record",
                expected="as many steps in all arrays of a record",
                fix="pad them apart, e.g. Mapped(source, lambda x: {**x, 'a': Pad()(x['a'])})",
            )
        length = self._length(int(lengths.max(initial=0)))
        padded = map_tree(lambda leaf: self._padded(leaf, length) if isinstance(leaf, Ragged) else leaf, x)
        return (padded, ragged[0].mask(length)) if self.mask == "input" else padded

    def _padded(self, records: Ragged, length: int) -> NDArray[Any]:
        if self.mask != "channel":
            return records.padded(length, self.value)
        if len(records.shape) < 3:
            raise DataError(
                f"{records!r} and mask='channel'",
                expected="records [steps, ..., channels]",
                fix="add an axis of channels, or use mask='input'",
            )
        array = np.zeros(
            (len(records), length, *records.values.shape[1:-1], records.values.shape[-1] + 1), records.dtype
        )
        array[..., :-1] = self.value
        own = records.mask(length)
        array[own, ..., :-1], array[own, ..., -1] = records.values, 1
        return array

    def _length(self, longest: int) -> int:
        lengths: Any = (longest,) if self.to is None else self.to
        fitting = [length for length in lengths if length >= longest]
        if not fitting:
            raise DataError(
                f"a record of {longest} steps",
                expected=f"at most {lengths[-1]} steps, the last of to={list(lengths)}",
                fix="add a length, or cut the records with Mapped before they are padded",
            )
        return int(fitting[0])


def _checked_lengths(to: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(sorted(operator.index(length) for length in np.atleast_1d(to).tolist()))
    except TypeError:
        lengths = ()
    if not lengths or lengths[0] < 1 or isinstance(to, bool):
        raise ArgumentError(f"to={to!r}", expected="one or several whole numbers >= 1, in steps", fix="leave it out")
    return lengths
