"""Checks that data resemble those of a training: classes, shape of a record, and statistics of the channels.

Classes and shapes that differ are errors. Statistics that are far off only give a warning, because rare faults are far
from the mean, too; the usual cause is a changed unit, or channels in a different order.
"""

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data import Arrays, DataWarning, Normalize, Source
from tailfit.errors import DataError
from tailfit.recipes.parts import record_shape
from tailfit.recipes.result import Result

__all__ = [
    "check_same_classes",
    "check_same_shape",
    "of_recordings",
    "statistics_of_sample",
    "warn_of_other_statistics",
]

# A sample is a few blocks of consecutive records, which are read fast from every format.
_BLOCKS: Final = 8
_BLOCK: Final = 128  # records
_MOST_BYTES: Final = 1 << 25  # of a sample
_MANY: Final = 30  # records from which the mean of a channel is reliable
_MOST_SHIFT: Final = 3.0  # of the mean, in standard deviations
_MOST_SHIFT_OF_FEW: Final = 10.0  # the same for few records
_MOST_RATIO: Final = 5.0  # of standard deviations
_SHOWN: Final = 5


def check_same_classes(source: Source, result: Result) -> None:
    """Check that labelled data have the classes of the training.

    Raises:
        DataError: If the class names differ.
    """
    if source.class_names != result.class_names:
        raise DataError(
            f"data with the classes {', '.join(map(repr, source.class_names))}",
            expected=f"the classes of the training: {', '.join(map(repr, result.class_names))}",
            fix="rename the classes; list classes without samples in class_names.json next to the data",
        )


def check_same_shape(source: Source, result: Result) -> None:
    """Check that records have the shape and the channels of those of the training.

    Raises:
        DataError: If they differ, or there is no record.
    """
    if not len(source):
        raise DataError(f"{source!r}", expected="at least one record", fix="check the path of the data")
    shape = record_shape(source)
    if shape != result.input_shape:
        raise DataError(
            f"records of shape {shape}",
            expected=f"records of shape {result.input_shape}, as in the training",
            fix="convert the records to this shape",
        )
    if source.channels is not None and result.channels is not None and source.channels != result.channels:
        raise DataError(
            f"records with the channels {', '.join(map(repr, source.channels))}",
            expected=f"the channels of the training: {', '.join(map(repr, result.channels))}",
            fix="rename or reorder the channels",
        )


def of_recordings(source: Source) -> bool:
    """Return whether samples are (windows of) records with a label for each step."""
    inner: Any = source
    while isinstance(inner, Source):
        if len(inner) and inner.step_labels(0) is not None:
            return True
        inner = getattr(inner, "source", getattr(inner, "x", None))
    return False


def statistics_of_sample(source: Source) -> Normalize | None:
    """Return mean and standard deviation of each channel over about a thousand records (at most 32 MiB).

    Returns:
        None if a record is not an array of numbers with channels, or a channel has no reading.

    >>> statistics_of_sample(Arrays(np.array([[1.0, 0.0], [3.0, 0.0]]))).mean.tolist()
    [2.0, 0.0]
    """
    try:
        nbytes = np.asarray(source.read([0])).nbytes
        block = max(1, min(_BLOCK, _MOST_BYTES // _BLOCKS // max(nbytes, 1)))
        return Normalize.fit(Arrays(source.read(_sample(len(source), block)), nan="keep"))
    except DataError:
        return None


def warn_of_other_statistics(source: Source, result: Result) -> None:
    """Warn if the mean or spread of a channel is far from that of the training part.

    Warns:
        DataWarning: With the names of the channels.
    """
    known, found = result.statistics, statistics_of_sample(source)
    if known is None or found is None or len(known.mean) != len(found.mean):
        return
    many = len(source) >= _MANY
    unit = np.where(known.std > 0, known.std, np.maximum(np.abs(known.mean), 1.0))
    shift = np.abs(found.mean - known.mean) / unit
    far = shift > (_MOST_SHIFT if many else _MOST_SHIFT_OF_FEW)
    if many:
        ratio = found.std / unit
        far |= (ratio > _MOST_RATIO) | ((ratio < 1 / _MOST_RATIO) & (known.std > 0))
    if far.any():
        names = result.channels or source.channels or tuple(f"channel {k}" for k in range(len(far)))
        worst = sorted(np.flatnonzero(far).tolist(), key=lambda k: -shift[k])
        listed = [
            f"{names[k]} (mean {found.mean[k]:.3g}, std {found.std[k]:.3g}; "
            f"in training {known.mean[k]:.3g}, {known.std[k]:.3g})"
            for k in worst[:_SHOWN]
        ]
        more = f" and {len(worst) - _SHOWN} more" if len(worst) > _SHOWN else ""
        warnings.warn(
            f"{len(worst)} of {len(far)} channels are far from those of the training part: {', '.join(listed)}{more}. "
            "Check their units and their order.",
            DataWarning,
            stacklevel=3,
        )


def _sample(size: int, block: int) -> NDArray[np.int64]:
    """Return the positions of a sample, evenly spaced blocks of records; all if there are few."""
    if size <= _BLOCKS * block:
        return np.arange(size)
    starts = np.linspace(0, size - block, _BLOCKS).astype(np.int64)
    return (starts[:, None] + np.arange(block)).ravel()
