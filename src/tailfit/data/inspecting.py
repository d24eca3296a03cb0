"""Inspection of a data set before training."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tailfit.data.breakdown import breakdown, breakdown_columns, single_group_classes
from tailfit.data.grouping import grouping_of
from tailfit.data.records.finite import finite_records
from tailfit.data.records.ragged import Ragged
from tailfit.data.records.trees import leaves
from tailfit.data.source import Source, index_chunks
from tailfit.errors import ArgumentError, DataError
from tailfit.names import lookalikes, looks_missing
from tailfit.notebook import paragraph, table_html
from tailfit.text import visible
from tailfit.weights import label_quality

__all__ = ["Inspection", "inspect"]

_CHUNK_SIZE = 256  # records read together
_RARE = 0.01  # share of the samples
_SHOWN = 5  # items of a list in a notebook


@dataclass(frozen=True)
class Inspection:
    """Results of `inspect`.

    Attributes:
        samples: Number of samples.
        arrays: Shape and dtype of each array of a record, by its path (`""` if a record is one array).
        nbytes: Bytes of all records.
        classes: DataFrame of `class`, `count` and `share`, the most frequent class first; empty if unlabelled. Soft
            labels give expected counts. With probabilities it also has the mean `quality` of the labels.
        missing: IDs of records with NaN or infinity.
        unreadable: Error message of each unreadable record, by ID.
        duplicates: Groups of IDs of identical records.
        across: Groups of duplicates that are in several of the given parts.
        lookalikes: Groups of class names that differ only in whitespace, case, Unicode form or invisible characters.
        missing_names: Class names that look like a missing value: "NA", "nan", "", ...
        steps: Minimum, median and maximum number of steps of ragged records; else None.
        left_out: Columns that are not part of the records because they only number the rows.
        groups: Number of groups; None if samples are independent.
        by: Breakdown of the classes by each grouping, see `inspect`: DataFrame of `group`, `samples` and `class NAME`.
        single_groups: Classes all of whose samples are in one group, with its name: their recall measures that group.
        sensors: If NaN is a missing reading, DataFrame of `sensor`, `absent_in`, the number of records without any
            reading of it, and `missing`, the share of missing readings; else None.
        quality: With probabilities, DataFrame of `id`, `label`, the label's `quality`, lowest first, and `doubtful`,
            which is True if the confident joint assigns the sample to a different class.
    """

    samples: int
    arrays: dict[str, str]
    nbytes: int
    classes: pl.DataFrame
    missing: tuple[str, ...]
    unreadable: dict[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    across: tuple[tuple[str, ...], ...]
    lookalikes: tuple[tuple[str, ...], ...] = ()
    missing_names: tuple[str, ...] = ()
    steps: tuple[int, float, int] | None = None
    left_out: tuple[str, ...] = ()
    quality: pl.DataFrame | None = None
    groups: int | None = None
    by: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    single_groups: Mapping[str, str] = field(default_factory=dict)
    sensors: pl.DataFrame | None = None

    @property
    def imbalance_ratio(self) -> float:
        """Count of the most frequent class divided by that of the rarest; infinity if a class has no samples."""
        counts = self.classes["count"].to_list()
        if not counts:
            return 1.0
        return float(max(counts) / min(counts)) if min(counts) else float("inf")

    @property
    def rare(self) -> pl.DataFrame:
        """Classes with less than 1 % of the samples."""
        return self.classes.filter(pl.col("share") < _RARE)

    @property
    def sound(self) -> bool:
        """Whether no record is missing values, unreadable or in two parts, and no class name is suspicious.

        Missing readings of a source whose records may have them, such as recordings, are not a problem.
        """
        return not (self.missing or self.unreadable or self.across or self.lookalikes or self.missing_names)

    def _repr_html_(self) -> str:
        return "".join([*map(paragraph, _summary(self)), *map(table_html, [self.classes, *self.by.values()])])


def inspect(
    source: Source,
    parts: Mapping[str, Source] | None = None,
    *,
    probabilities: ArrayLike | None = None,
    by: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Read every record once, and report problems that should be solved before training.

    Args:
        source: Source, opened with `nan="keep"`; otherwise records with NaN count as unreadable.
        parts: Parts of the source, as returned by `split`, to find duplicates in different parts.
        probabilities: Out-of-fold probabilities of the C classes for each sample, `[n, C]`; see
            `tailfit.weights.label_quality`.
        by: Metadata columns by which classes are broken down. By default the groups of the source, and columns of text
            with 2 to 30 different values.
        progress: Function called as `progress(samples_read, samples)`.
    Raises:
        ArgumentError: If there is no column of `by`, or a part does not belong to this source.
        DataError: If probabilities are invalid, or labels are not one class per sample.

    >>> import tailfit
    >>> x = np.array([[1.0], [2.0], [1.0], [np.nan]])
    >>> found = inspect(tailfit.data.Arrays(x, ["ok", "ok", "leak", "ok"], nan="keep"))
    >>> found.imbalance_ratio, found.missing, found.duplicates
    (3.0, ('3',), (('0', '2'),))
    """
    owner = _owners(source, parts or {})
    groupings = breakdown_columns(source) if by is None else {name: grouping_of(source, name) for name in by}
    quality = None if probabilities is None else _quality(source, probabilities)
    read = _Reading(source)
    read.all(progress)
    if read.ragged is not None:
        read = _Reading(read.ragged)
        read.all(progress)
    groups = [group for group in read.by_content.values() if len(group) > 1]
    across = [group for group in groups if len({owner.get(position, "") for position in group} - {""}) > 1]
    return Inspection(
        samples=len(source),
        arrays=read.arrays,
        nbytes=read.nbytes,
        classes=_classes(source, quality),
        missing=() if source.keeps_missing else tuple(read.missing),
        unreadable=read.unreadable,
        duplicates=_named(source, groups),
        across=_named(source, across),
        lookalikes=lookalikes(source.class_names),
        missing_names=tuple(name for name in source.class_names if looks_missing(name)),
        steps=read.steps,
        left_out=source.left_out,
        quality=quality,
        groups=None if source.groups is None else len(np.unique(source.groups)),
        by={name: breakdown(source, groups) for name, groups in groupings.items()} if source.class_names else {},
        single_groups=single_group_classes(source),
        sensors=read.sensors() if source.keeps_missing else None,
    )


class _Reading:
    """Statistics of the records of a source, each of which is read once.

    Attributes:
        ragged: Ragged version of the source, to be read instead if records unexpectedly differ in length.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.missing: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.by_content: dict[bytes, list[int]] = {}
        self.arrays: dict[str, str] = {}
        self.nbytes = 0
        self.ragged: Source | None = None
        self._steps: list[NDArray[np.int64]] = []
        # Of each channel: records without a reading, missing readings, and all readings.
        self._absent: NDArray[np.int64] | int = 0
        self._missing_readings: NDArray[np.int64] | int = 0
        self._readings = 0

    def sensors(self) -> pl.DataFrame | None:
        """Return the missing readings of each channel; None if records are not arrays with channels."""
        absent, missing = np.atleast_1d(self._absent), np.atleast_1d(self._missing_readings)
        names = self.source.channels or tuple(map(str, range(len(absent))))
        if not self._readings or len(names) != len(absent):
            return None
        return pl.DataFrame({"sensor": names, "absent_in": absent, "missing": missing / self._readings})

    @property
    def steps(self) -> tuple[int, float, int] | None:
        """Minimum, median and maximum number of steps of ragged records; else None."""
        if not self._steps:
            return None
        steps = np.concatenate(self._steps)
        return int(steps.min()), float(np.median(steps)), int(steps.max())

    def all(self, progress: Callable[[int, int], None] | None) -> None:
        """Read all records; stop if they unexpectedly differ in length."""
        for indices in index_chunks(0, len(self.source), _CHUNK_SIZE):
            for chosen, batch in self._readable(indices):
                self._add(chosen, batch)
            if self.ragged is not None:
                return
            if progress is not None:
                progress(int(indices[-1]) + 1, len(self.source))

    def _add(self, chosen: NDArray[np.int64], batch: Any) -> None:
        flat = sorted(leaves(batch), key=lambda pair: pair[0])  # dict keys may differ in order between records
        self.arrays = self.arrays or {path: f"{leaf.shape[1:]} {leaf.dtype}" for path, leaf in flat}
        self.nbytes += sum(leaf.nbytes for _, leaf in flat)
        self._steps += [leaf.lengths for _, leaf in flat if isinstance(leaf, Ragged)][:1]
        bad = np.zeros(len(chosen), dtype=np.bool_)
        for _, leaf in flat:
            bad |= ~finite_records(leaf)
        self.missing += [self.source.ids[position] for position in chosen[bad].tolist()]
        if self.source.keeps_missing and len(flat) == 1:
            self._add_missing(flat[0][1])
        for row, position in enumerate(chosen.tolist()):
            content = hashlib.blake2b(digest_size=16)
            for path, leaf in flat:
                content.update(path.encode() + np.ascontiguousarray(leaf[row]).tobytes())
            self.by_content.setdefault(content.digest(), []).append(position)

    def _add_missing(self, records: Any) -> None:
        for record in (records[row] for row in range(len(records))):
            if record.ndim > 1 and record.dtype.kind == "f":
                missing = np.isnan(record).reshape(-1, record.shape[-1])
                self._absent = self._absent + missing.all(axis=0)
                self._missing_readings = self._missing_readings + missing.sum(axis=0)
                self._readings += len(missing)

    def _readable(self, indices: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Any]]:
        """Yield the batch; if a record can't be read, yield each readable record by itself."""
        try:
            yield indices, self.source.read(indices)
            return
        except DataError:
            pass
        ragged = self.source.as_ragged()
        for position in indices.tolist():
            try:
                record = self.source.read([position])
            except DataError as error:
                if ragged is not None and _can_read(ragged, position):
                    self.ragged = ragged
                    return
                self.unreadable[self.source.ids[position]] = str(error)
                continue
            yield np.array([position]), record


def _can_read(source: Source, position: int) -> bool:
    try:
        source.read([position])
    except DataError:
        return False
    return True


def _summary(found: Inspection) -> Iterator[str]:
    """Return sentences for a notebook: the size of the data, and each kind of problem with its first items."""
    shapes = ", ".join(f"{path} {array}".strip() for path, array in found.arrays.items())
    groups = "" if found.groups is None else f" in {found.groups:,} groups"
    yield f"{found.samples:,} samples{groups}, {shapes}; {found.nbytes / 2**20:,.1f} MiB."
    yield f"Imbalance ratio {found.imbalance_ratio:,.1f}. {'No problems' if found.sound else 'Problems'} found."
    together = {
        "Records with NaN or infinity": found.missing,
        "Unreadable records": tuple(found.unreadable),
        "Identical records": tuple(" = ".join(each) for each in found.duplicates),
        "Identical records in several parts": tuple(" = ".join(each) for each in found.across),
        "Class names that are easily confused": tuple(" / ".join(map(repr, each)) for each in found.lookalikes),
        "Class names that look like a missing value": tuple(map(repr, found.missing_names)),
        "Classes in one group only": tuple(f"{name} ({group})" for name, group in found.single_groups.items()),
    }
    for what, items in together.items():
        if items:
            more = f", and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
            yield f"{what}: {', '.join(map(visible, items[:_SHOWN]))}{more}."


def _owners(source: Source, parts: Mapping[str, Source]) -> dict[int, str]:
    owners: dict[int, str] = {}
    for name, part in parts.items():
        try:
            owners.update(dict.fromkeys(source.positions(part.ids).tolist(), name))
        except DataError as error:
            raise ArgumentError(
                f"part {name!r}, which does not belong to this source ({error})",
                expected="parts of the source",
                fix="pass the result of source.split()",
            ) from error
    return owners


def _quality(source: Source, probabilities: ArrayLike) -> pl.DataFrame:
    encoded = source.encoded
    if encoded is None or encoded.kind != "codes":
        raise DataError(
            f"probabilities for a source with {source.label_kind or 'no'} labels",
            expected="labels of one class per sample",
            fix="drop probabilities=",
        )
    quality = label_quality(encoded.values, probabilities)
    doubtful = label_quality(encoded.values, probabilities, "confident_joint") == 0
    names = [encoded.class_names[index] for index in encoded.values.tolist()]
    table = pl.DataFrame({"id": list(source.ids), "label": names, "quality": quality, "doubtful": doubtful})
    return table.sort("quality", maintain_order=True)


def _classes(source: Source, quality: pl.DataFrame | None) -> pl.DataFrame:
    table = pl.DataFrame({"class": list(source.class_names), "count": source.class_counts}, strict=False)
    if source.label_kind != "soft":
        table = table.with_columns(pl.col("count").cast(pl.Int64))
    steps = bool(source.class_names) and source.encoded is None  # labels of steps: steps are counted
    share = pl.col("count") / max(float(source.class_counts.sum()) if steps else len(source), 1)
    table = table.with_columns(share=share).sort("count", descending=True, maintain_order=True)
    if quality is not None:
        means = quality.group_by(pl.col("label").alias("class")).agg(pl.col("quality").mean())
        table = table.join(means, on="class", how="left", maintain_order="left")
    return table


def _named(source: Source, groups: list[list[int]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(source.ids[position] for position in group) for group in groups)
