"""Samples of other data that were in a run's training part, found by ID and by the contents of their records.

Concepts:
- *fingerprint*: a 64-bit hash of a record's numbers in single precision, so that a copy in another format matches.
- *expected by chance*: records of few different values are equal by chance. How often is estimated from the training
  part itself: the share of its records that have an equal one there. Fewer matches than that give no warning.
- Of large data, an even sample of 128 MiB is compared, which the message mentions.
"""

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data import DataWarning, Source
from tailfit.errors import TailfitError
from tailfit.recipes.data_identity import describe_change, identity_of_data
from tailfit.recipes.parts import open_part
from tailfit.recipes.trained import Trained

__all__ = ["Overlap", "overlap", "warn_of_training_samples"]

_MOST_BYTES: Final = 1 << 27  # of records that are compared
_BLOCK: Final = 256  # records that are read together


@dataclass(frozen=True)
class Overlap:
    """Samples of a source that are also in another one.

    Attributes:
        same: Number of samples with the same ID and an equal record.
        renamed: Number of samples with an equal record of another ID.
        by_id: Number of samples with the same ID and a different record; 0 if IDs only number the samples.
        certain: Number of `same` whose ID is more than the number of a row.
        expected: Number of equal records that are expected by chance.
        compared: Shares of the samples and of the other source's samples whose records were compared.
    """

    same: int
    renamed: int
    by_id: int
    certain: int
    expected: float
    compared: tuple[float, float]

    @property
    def found(self) -> bool:
        """Whether more samples were found than are expected by chance."""
        matched = self.same + self.renamed
        return self.certain + self.by_id > 0 or matched > self.expected + 3 * math.sqrt(self.expected)


def warn_of_training_samples(trained: Trained, source: Source, place: Path, data: str, *, fetch: bool = False) -> None:
    """Warn if data that a run is evaluated on contain samples of its training part.

    Args:
        trained: The run.
        source: The data, opened as those of the run.
        place: Directory of the run, for the message.
        data: Path of the data, for the message.
        fetch: Whether the training data may be downloaded.
    Warns:
        DataWarning: If there are such samples, or the training data can't be read.
    """
    try:
        training = open_part(trained.recipe, "train", trained.result.fill, fetch=fetch)
        found = overlap(source, training)
        changed = describe_change(trained.data, identity_of_data(trained.recipe))
    except (TailfitError, OSError) as error:
        message = f"the training data of {place} can't be read, so it is unknown whether {data} contains some of them"
        warnings.warn(f"{message}. {error}", DataWarning, stacklevel=3)
        return
    if found.found:
        message = f"{data}: {_described(found)}. The figures are too good if these samples were trained on"
        if changed:
            message += f"; but the data of {place} have changed since the training ({changed})"
        warnings.warn(f"{message}.", DataWarning, stacklevel=3)


def overlap(source: Source, training: Source) -> Overlap:
    """Find the samples of a source that are also in another one.

    >>> from tailfit.data import Arrays
    >>> training = Arrays(np.arange(8.0).reshape(4, 2), ids=["a", "b", "c", "d"])
    >>> found = overlap(Arrays(np.array([[2.0, 3.0], [4.0, 5.0], [9.0, 9.0]]), ids=["b", "x", "d"]), training)
    >>> found.same, found.renamed, found.by_id
    (1, 1, 1)
    """
    own_rows, own = _fingerprints(source)
    rows, known = _fingerprints(training)
    by_content = set(known.tolist())
    by_id = {training.ids[row]: mark for row, mark in zip(rows.tolist(), known.tolist(), strict=True)}
    same = renamed = different = certain = 0
    for row, mark in zip(own_rows.tolist(), own.tolist(), strict=True):
        name = source.ids[row]
        if by_id.get(name) == mark:
            same += 1
            certain += not name.isdecimal()
        elif mark in by_content:
            renamed += 1
        elif name in by_id and not name.isdecimal():
            different += 1
    _, times = np.unique(known, return_counts=True)
    repeated = times[times > 1].sum() / max(len(known), 1)
    shares = (len(own) / max(len(source), 1), len(known) / max(len(training), 1))
    return Overlap(same, renamed, different, certain, float(repeated * len(own)), shares)


def _described(found: Overlap) -> str:
    parts = []
    if found.same:
        parts.append(f"{found.same:,} samples have the ID and the record of a training sample")
    if found.renamed:
        chance = f" ({found.expected:,.0f} expected by chance)" if found.expected >= 1 else ""
        parts.append(f"{found.renamed:,} samples have the record of a training sample with another ID{chance}")
    if found.by_id:
        parts.append(f"{found.by_id:,} samples have the ID of a training sample, but another record")
    own, training = found.compared
    if own < 1 or training < 1:
        parts.append(f"compared were {own:.0%} of these samples with {training:.0%} of the training part")
    return "; ".join(parts)


def _fingerprints(source: Source) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return positions and hashes of all records, or of an even sample."""
    if not len(source):
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    starts = range(0, len(source), _BLOCK)
    nbytes = max(np.asarray(source.read([0])).nbytes, 1) * _BLOCK
    kept = max(1, _MOST_BYTES // nbytes)
    chosen = starts if len(starts) <= kept else [starts[k * len(starts) // kept] for k in range(kept)]
    rows = [np.arange(start, min(start + _BLOCK, len(source))) for start in chosen]
    marks = [mark for positions in rows for mark in _marks(np.asarray(source.read(positions)))]
    return np.concatenate(rows), np.array(marks, dtype=np.uint64)


def _marks(records: NDArray[np.generic]) -> list[int]:
    flat = np.ascontiguousarray(records.astype(np.float32).reshape(len(records), -1))
    # + 0.0 turns -0.0 into 0.0, which equal each other.
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little") for row in flat + 0.0]
