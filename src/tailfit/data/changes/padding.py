"""Padding of records of different length to one length, with an optional mask."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tailfit.data.changes.sensors import RecordFunction
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves, map_tree
from tailfit.errors import ArgumentError, DataError

__all__ = ["Pad"]

_MASKS = (None, "input", "channel")


@dataclass(frozen=True, kw_only=True)
class Pad(RecordFunction):
    """Pad records at their end to one length per batch, for `Mapped`, or for `Batches` as `transform=Pad().transform`.

    Args:
        to: Lengths that batches may have, one or several; the smallest one that is not less than the batch's longest
            record is used. A network is traced once for each. None pads to the longest record of each batch.
        value: Padding value. `keras.layers.Masking(mask_value=value)` skips steps with this value in every channel, so
            choose one that no real step has.
        mask: None returns only the records. `"input"` returns `(records, mask)` with a mask `bool[n, steps]`, True for
            real steps, as a second input of the network, which passes it on as `layer(x, mask=mask)`. `"channel"`
            appends a channel that is 1 in real steps and 0 in the padding.
    Shapes: A `Ragged` of `[steps, ...]` to `[n, length, ...]`, with the units and dtype of the records. Other arrays of
        a nest stay the same.
    Raises:
        ArgumentError: If lengths are not whole numbers >= 1, or the mask is unknown.
        DataError: When called, if a record is longer than every length in `to`, there are no ragged records, or
            `"channel"` is used for records without channels.

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
            raise ArgumentError(
                f"mask={self.mask!r}", expected=f"one of {_MASKS}", fix="drop mask=, or pass one of these"
            )
        if self.to is not None:
            object.__setattr__(self, "to", _checked_lengths(self.to))

    def __call__(self, x: Any) -> Any:
        """Return the padded records."""
        ragged = [leaf for _, leaf in leaves(x) if isinstance(leaf, Ragged)]
        if not ragged:
            raise DataError(
                f"records of the types {[type(leaf).__name__ for _, leaf in leaves(x)]}",
                expected="ragged records, as a source with ragged=True returns them",
                fix="drop Pad if all records have one length, else make the source with ragged=True",
            )
        lengths = ragged[0].lengths
        if any(not np.array_equal(lengths, other.lengths) for other in ragged[1:]):
            raise DataError(
                "a record whose arrays differ in their number of steps",
                expected="the same number of steps in all arrays of a record",
                fix="pad each array separately, for example with Mapped(source, lambda x: {**x, 'a': Pad()(x['a'])})",
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
        mask = records.mask(length)
        array[mask, ..., :-1], array[mask, ..., -1] = records.values, 1
        return array

    def _length(self, longest: int) -> int:
        lengths: Any = (longest,) if self.to is None else self.to
        fitting = [length for length in lengths if length >= longest]
        if not fitting:
            raise DataError(
                f"a record of {longest} steps",
                expected=f"at most {lengths[-1]} steps, the last of to={list(lengths)}",
                fix="add a longer length to to=, or crop the records with Mapped before padding",
            )
        return int(fitting[0])


def _checked_lengths(to: Any) -> tuple[int, ...]:
    try:
        lengths = tuple(sorted(operator.index(length) for length in np.atleast_1d(to).tolist()))
    except TypeError:
        lengths = ()
    if not lengths or lengths[0] < 1 or isinstance(to, bool):
        raise ArgumentError(
            f"to={to!r}",
            expected="one or several whole numbers >= 1, in steps",
            fix="pass such lengths, or drop to= to pad to the longest record of each batch",
        )
    return lengths
