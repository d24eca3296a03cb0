"""Classes by group: how the samples of each class are spread over groups, such as wells, machines or sources."""

import contextlib
import warnings

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.grouping import Grouping, grouping_of
from tailfit.data.records.finite import DataWarning
from tailfit.data.source import Source
from tailfit.errors import DataError
from tailfit.text import three_parts

__all__ = ["breakdown", "breakdown_columns", "single_group_classes", "warn_of_single_groups"]

_SHOWN = 3  # classes in a warning
_MOST_VALUES = 30  # of a metadata column whose breakdown is shown by default


def breakdown(source: Source, groups: Grouping) -> pl.DataFrame:
    """Return the number of samples of each class in each group, the largest group first.

    Args:
        source: Source with labels. Of recordings with labels of steps, steps are counted.
        groups: Groups of its samples.
    Returns:
        DataFrame of `group`, `samples`, and the count of each class in a column of its name, prefixed by `class `.

    >>> import tailfit
    >>> source = tailfit.data.Arrays(np.zeros(4), ["ok", "ok", "leak", "ok"]).grouped(list("abba"))
    >>> breakdown(source, source.grouping).rows()
    [('a', 2, 0, 2), ('b', 2, 1, 1)]
    """
    present, codes = np.unique(groups.codes, return_inverse=True)
    codes = codes.reshape(-1)
    table = pl.DataFrame(
        {
            "group": [groups.names[code] for code in present.tolist()],
            "samples": np.bincount(codes, minlength=len(present)),
        }
    )
    counts = _counts(source, codes, len(present))
    by_class = [pl.Series(f"class {name}", counts[:, code]) for code, name in enumerate(source.class_names)]
    if source.label_kind != "soft":
        by_class = [column.cast(pl.Int64) for column in by_class]
    return table.hstack(by_class).sort("samples", descending=True, maintain_order=True)


def breakdown_columns(source: Source) -> dict[str, Grouping]:
    """Return the groupings by which classes are broken down: the groups of a source, and text columns with few values.

    Columns of text or booleans with 2 to 30 different values, such as the source of the recordings, without missing
    values.
    """
    found: dict[str, Grouping] = {}
    if source.grouping is not None and len(np.unique(source.grouping.codes)) > 1:
        found[source.grouping.by] = source.grouping
    for column in [] if source.metadata is None else source.metadata.drop("id").get_columns():
        names = column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Boolean)
        if names and 2 <= column.n_unique() <= min(_MOST_VALUES, len(source) - 1):
            with contextlib.suppress(DataError):  # missing values
                found.setdefault(column.name, grouping_of(source, column.name))
    return found


def single_group_classes(source: Source) -> dict[str, str]:
    """Return the classes all of whose samples are in one group, with the name of that group.

    Classes of a single sample count too. A source without groups, or with only one group, has no such classes.

    >>> import tailfit
    >>> source = tailfit.data.Arrays(np.zeros(5), ["ok", "ok", "leak", "leak", "wear"]).grouped(list("abccb"))
    >>> single_group_classes(source)
    {'leak': 'c', 'wear': 'b'}
    """
    groups = source.grouping
    if groups is None or not source.class_names:
        return {}
    present, codes = np.unique(groups.codes, return_inverse=True)
    if len(present) < 2:
        return {}
    counts = _counts(source, codes.reshape(-1), len(present)) > 0
    alone = np.flatnonzero(counts.sum(axis=0) == 1)
    return {source.class_names[code]: groups.names[present[int(counts[:, code].argmax())]] for code in alone.tolist()}


def warn_of_single_groups(source: Source, what: str) -> None:
    """Issue a `DataWarning` if all samples of a class are in one group of several.

    Args:
        source: The source.
        what: Name of the source in the message.
    """
    alone = single_group_classes(source)
    if not alone or source.grouping is None:
        return
    listed = ", ".join(f"{name!r} (in {group!r})" for name, group in list(alone.items())[:_SHOWN])
    more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
    message = three_parts(
        f"{what} with classes whose samples are all in one group by {source.grouping.by}: {listed}{more}",
        expected="samples of each class in several groups, because a model may learn the group in place of the class",
        fix="add groups of these classes, or do not rely on their recall",
    )
    warnings.warn(DataWarning(message), stacklevel=3)


def _counts(source: Source, codes: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Return the number of samples of each class in each group, `float64[size, C]`."""
    counts = np.zeros((size, len(source.class_names)))
    labels = source.labels
    if len(source) and source.step_labels(0) is not None:
        for record, code in enumerate(codes.tolist()):
            steps = source.step_labels(record)
            if steps is not None:
                counts[code] += np.bincount(steps[steps >= 0], minlength=counts.shape[1])
    elif labels is not None and labels.ndim == 2:
        np.add.at(counts, codes, labels)
    elif labels is not None:
        np.add.at(counts, (codes, labels), 1)
    return counts
