"""A look at a data set before anything is trained on it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.data.finite import finite_records
from tailfit.data.source import Source, stretches
from tailfit.data.trees import leaves
from tailfit.errors import ArgumentError, DataError
from tailfit.weights import label_quality

__all__ = ["Inspection", "inspect"]

_AT_ONCE = 256  # records
_RARE = 0.01


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        samples: Records in the source.
        arrays: Shape and type of each array of a record, by its path (`""` where a record is one array).
        nbytes: Bytes of all records.
        classes: DataFrame of `class`, `count` and `share`, the most frequent first; empty if unlabelled. Of soft labels
            the expected counts. With probabilities also the mean `quality` of its labels.
        missing: IDs of records with NaN or infinity.
        unreadable: What is wrong with each record that can't be read, by ID.
        duplicates: IDs of records that are equal to the byte, group by group.
        across: Those groups of duplicates that lie in several of the parts that were given.
        quality: With probabilities, DataFrame of `id`, `label`, the label's `quality`, the lowest first, and whether it
            is `doubtful`: whether the confident joint counts the sample under another class.
    """

    samples: int
    arrays: dict[str, str]
    nbytes: int
    classes: pl.DataFrame
    missing: tuple[str, ...]
    unreadable: dict[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    across: tuple[tuple[str, ...], ...]
    quality: pl.DataFrame | None = None

    @property
    def imbalance_ratio(self) -> float:
        """Count of the most frequent class to that of the rarest one; infinity for a class without a sample."""
        counts = self.classes["count"].to_list()
        if not counts:
            return 1.0
        return float(max(counts) / min(counts)) if min(counts) else float("inf")

    @property
    def rare(self) -> pl.DataFrame:
        """The classes below 1 % of the samples."""
        return self.classes.filter(pl.col("share") < _RARE)

    @property
    def sound(self) -> bool:
        """Whether nothing is missing, unreadable or in two parts."""
        return not (self.missing or self.unreadable or self.across)


def inspect(
    source: Source,
    parts: Mapping[str, Source] | None = None,
    *,
    probabilities: ArrayLike | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Read every record once, and say what there is to know before training.

    Args:
        source: Opened with `nan="keep"`; otherwise records with NaN count as unreadable.
        parts: Of the source, as `split` gives them: to find records that are in two of them.
        probabilities: Of the C classes for each sample `[n, C]`, out-of-fold: see `tailfit.weights.label_quality`.
        progress: Called with (samples read, samples in all).
    Raises:
        ArgumentError: for parts that are not of this source.
        DataError: for probabilities that are none, or beside labels that have not one class each.

    >>> import tailfit
    >>> x = np.array([[1.0], [2.0], [1.0], [np.nan]])
    >>> found = inspect(tailfit.data.Arrays(x, ["ok", "ok", "leak", "ok"], nan="keep"))
    >>> found.imbalance_ratio, found.missing, found.duplicates
    (3.0, ('3',), (('0', '2'),))
    """
    owner = _owners(source, parts or {})
    quality = None if probabilities is None else _quality(source, probabilities)
    missing: list[str] = []
    unreadable: dict[str, str] = {}
    by_content: dict[bytes, list[int]] = {}
    arrays: dict[str, str] = {}
    nbytes = 0
    for indices in stretches(0, len(source), _AT_ONCE):
        for chosen, batch in _readable(source, indices, unreadable):
            flat = sorted(leaves(batch), key=lambda pair: pair[0])  # a dict's keys may come in another order
            arrays = arrays or {path: f"{leaf.shape[1:]} {leaf.dtype}" for path, leaf in flat}
            nbytes += sum(leaf.nbytes for _, leaf in flat)
            bad = np.zeros(len(chosen), dtype=np.bool_)
            for _, leaf in flat:
                bad |= ~finite_records(leaf)
            missing += [source.ids[position] for position in chosen[bad].tolist()]
            for row, position in enumerate(chosen.tolist()):
                content = hashlib.blake2b(digest_size=16)
                for path, leaf in flat:
                    content.update(path.encode() + np.ascontiguousarray(leaf[row]).tobytes())
                by_content.setdefault(content.digest(), []).append(position)
        if progress is not None:
            progress(int(indices[-1]) + 1, len(source))
    groups = [group for group in by_content.values() if len(group) > 1]
    across = [group for group in groups if len({owner.get(position, "") for position in group} - {""}) > 1]
    return Inspection(
        samples=len(source),
        arrays=arrays,
        nbytes=nbytes,
        classes=_classes(source, quality),
        missing=tuple(missing),
        unreadable=unreadable,
        duplicates=_named(source, groups),
        across=_named(source, across),
        quality=quality,
    )


def _readable(source: Source, indices: NDArray[np.int64], unreadable: dict[str, str]) -> Any:
    """The batch, or where one of its records can't be read, each that can be, by itself."""
    try:
        yield indices, source.read(indices)
        return
    except DataError:
        pass
    for position in indices.tolist():
        try:
            record = source.read([position])
        except DataError as error:
            unreadable[source.ids[position]] = str(error)
            continue
        yield np.array([position]), record


def _owners(source: Source, parts: Mapping[str, Source]) -> dict[int, str]:
    owners: dict[int, str] = {}
    for name, part in parts.items():
        try:
            owners.update(dict.fromkeys(source.positions(part.ids).tolist(), name))
        except DataError as error:
            raise ArgumentError(
                f"part {name!r}, which is not of this source ({error})",
                expected="parts of it",
                fix="use source.split()",
            ) from error
    return owners


def _quality(source: Source, probabilities: ArrayLike) -> pl.DataFrame:
    codes = source.encoded
    if codes is None or codes.kind != "codes":
        raise DataError(
            f"probabilities for {source.label_kind or 'no'} labels",
            expected="labels of one class a sample",
            fix="leave probabilities out",
        )
    quality = label_quality(codes.values, probabilities)
    doubtful = label_quality(codes.values, probabilities, "confident_joint") == 0
    names = [codes.class_names[code] for code in codes.values.tolist()]
    table = pl.DataFrame({"id": list(source.ids), "label": names, "quality": quality, "doubtful": doubtful})
    return table.sort("quality", maintain_order=True)


def _classes(source: Source, quality: pl.DataFrame | None) -> pl.DataFrame:
    table = pl.DataFrame({"class": list(source.class_names), "count": source.class_counts}, strict=False)
    if source.label_kind != "soft":
        table = table.with_columns(pl.col("count").cast(pl.Int64))
    share = pl.col("count") / max(len(source), 1)
    table = table.with_columns(share=share).sort("count", descending=True, maintain_order=True)
    if quality is not None:
        means = quality.group_by(pl.col("label").alias("class")).agg(pl.col("quality").mean())
        table = table.join(means, on="class", how="left", maintain_order="left")
    return table


def _named(source: Source, groups: list[list[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(source.ids[position] for position in group) for group in groups)
