"""A commented recipe for a data set: the keys that follow from the data, and comments with the other choices.

The draft is checked by opening the data as the recipe does, so it trains as written.
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

import tailfit.data
from tailfit.data import DataWarning, Source
from tailfit.data.inspecting import Inspection, inspect
from tailfit.data.remote.fetching import is_url
from tailfit.data.sources.layout import partition_file
from tailfit.errors import DataError, TailfitError
from tailfit.recipes.document import parse
from tailfit.recipes.parts import open_parts, record_shape
from tailfit.recipes.recipe import load_recipe
from tailfit.storage.writing import make_folder
from tailfit.text import visible

__all__ = ["draft_recipe"]

_LABELS: Final = (
    "label",
    "class",
    "cause",
    "target",
    "y",
    "category",
    "fault",
    "failure",
    "diagnosis",
    "state",
    "outcome",
)
_GROUPS: Final = (
    "group",
    "well",
    "unit",
    "machine",
    "run",
    "patient",
    "subject",
    "site",
    "device",
    "plant",
    "engine",
    "batch",
)
_MOST_CLASSES: Final = 100
_LONGEST_WINDOW: Final = 128
_LONG: Final = 64  # steps of a record
_MOST_FOR_FEATURES: Final = 20_000  # records; of more, a recipe computes the features of `minirocket` in every epoch


@dataclass
class _Draft:
    """Decisions so far.

    Attributes:
        data: The key `data` of the recipe.
        notes: Comments for keys of `data`, by key.
    """

    data: dict[str, Any]
    notes: dict[str, str] = field(default_factory=dict)


def draft_recipe(
    data: str,
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Return the text of a recipe for a data set.

    Args:
        data: Path or URL for `tailfit.data.open`.
        folder: Folder that the recipe will be in, to which its path is relative. Created if the data can be used.
        options: Options of the reader, such as `{"label": "cause"}`.
        progress: Function called as `progress(samples_read, samples)`.
    Raises:
        DataError: If the data can't be read, or have no labels of one class per sample that can be found.
    """
    given = dict(options or {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the comments of the recipe contain the same
        draft = _Draft({"path": data if is_url(data) else os.path.relpath(os.path.abspath(data), folder.resolve())})
        source = _labelled(data, given, draft)
        found = inspect(source, progress=progress)
        if _leave_out_channels(source, found, given, draft):
            source = tailfit.data.open(data, nan="keep", **given)
            found = inspect(source, progress=progress)
        _refuse_unfit(data, source, found)
        _choose_windows(source, found, draft)
        _choose_filling(source, found, draft)
        if given:
            draft.data["options"] = {key: value for key, value in given.items() if key not in ("label", "group")}
            draft.data.update({key: value for key, value in given.items() if key in ("label", "group")})
            if not draft.data["options"]:
                del draft.data["options"]
        _choose_split(data, source, draft)
        make_folder(folder)  # the path of the data is relative to it
        text = _text(draft, source, found)
        return _checked(text, draft, source, found, folder)


def _labelled(data: str, options: dict[str, Any], draft: _Draft) -> Source:
    """Open the data; without labels, find the column of labels, and that of IDs."""
    source = tailfit.data.open(data, nan="keep", **options)
    table = source.metadata
    if _has_step_labels(source):
        return source
    if source.labels is None and "label" not in options and (source.channels or table is not None):
        candidates = _candidates(table, source.channels)
        named = [name for name in candidates if name.lower() in _LABELS]
        chosen = named[:1] or (candidates if len(candidates) == 1 else [])
        if not chosen:
            listed = ", ".join(map(repr, candidates)) or "none that has few different values"
            raise DataError(
                f"{data} without labels that can be found; columns: {listed}",
                expected="one class per sample",
                fix="name the column of labels, e.g. -o label=cause, or add labels.json next to the records",
            )
        options["label"] = chosen[0]
        others = [name for name in candidates if name != chosen[0]]
        draft.notes["label"] = (
            f"chosen by its name and values; others: {', '.join(others)}" if others else "chosen by its values"
        )
        source = tailfit.data.open(data, nan="keep", **options)
    table = source.metadata
    if table is not None and "id" not in options and _is_numbered(source):
        unique = [
            name
            for name, kind in table.schema.items()
            if kind == pl.String
            and name != "id"
            and table[name].n_unique() == table.height
            and not table[name].null_count()
        ]
        if unique:
            options["id"] = unique[0]
            source = tailfit.data.open(data, nan="keep", **options)
    return source


def _has_step_labels(source: Source) -> bool:
    return len(source) > 0 and source.step_labels(0) is not None


def _candidates(table: pl.DataFrame | None, channels: tuple[str, ...] | None) -> list[str]:
    """Return columns with few different values; channels only if they are called like labels."""
    found = []
    if table is not None:
        most = min(_MOST_CLASSES, max(table.height // 2, 2))
        columns = table.select(pl.col(pl.String, pl.Categorical, pl.Boolean).exclude("id"))
        found = [each.name for each in columns if not each.null_count() and 2 <= each.n_unique() <= most]
    return found + [name for name in channels or () if name.lower() in _LABELS]


def _is_numbered(source: Source) -> bool:
    return len(source) > 0 and all(source.ids[k] == str(k) for k in (0, len(source) // 2, len(source) - 1))


def _refuse_unfit(data: str, source: Source, found: Inspection) -> None:
    if (source.label_kind != "codes" and not _has_step_labels(source)) or len(found.classes) < 2:
        raise DataError(
            f"{data} with {source.label_kind or 'no'} labels of {len(found.classes)} classes",
            expected="one of two or more classes per sample, which recipes require",
            fix="name the column of labels, e.g. -o label=cause, or use tailfit.Batches from Python",
        )
    if found.unreadable:
        name, message = next(iter(found.unreadable.items()))
        raise DataError(
            f"{data} with {len(found.unreadable)} unreadable records, such as {name!r}: {message}",
            expected="records that can be read",
            fix="run tailfit inspect, and repair or remove them",
        )


def _choose_windows(source: Source, found: Inspection, draft: _Draft) -> None:
    if found.steps is None:
        return
    least, median, most = found.steps
    length = 1
    while 2 * length <= min(max(least, 1), _LONGEST_WINDOW):
        length *= 2
    draft.data["windows"] = {"length": length, "stride": max(1, length // 2)}
    note = f"records have {least} to {most} steps, median {median:g}; as long as a fault takes to show"
    rules = "; label: last, or majority, first, any:CLASS" if _has_step_labels(source) else ""
    draft.notes["windows"] = note + rules


def _leave_out_channels(source: Source, found: Inspection, options: dict[str, Any], draft: _Draft) -> bool:
    """Choose the columns that have readings, if some have none at all; return whether that changes the records."""
    if found.sensors is None or source.channels is None or "columns" in options:
        return False
    empty = found.sensors.filter(pl.col("missing") == 1)["sensor"].to_list()
    kept = [name for name in source.channels if name not in empty]
    if not (empty and kept):
        return False
    options["columns"] = kept
    draft.notes["options"] = f"columns without: {', '.join(empty)}, which never has a reading"
    return True


def _choose_filling(source: Source, found: Inspection, draft: _Draft) -> None:
    absent = found.sensors is not None and bool((found.sensors["missing"] > 0).any())
    if found.missing or absent:
        steps = found.steps is not None or len(record_shape(source)) > 1
        draft.data["fill_missing"] = "forward" if steps else "mean"
        count = f"{len(found.missing)} records" if found.missing else "records"
        draft.notes["fill_missing"] = f"{count} with NaN; or mean, zero"


def _choose_split(data: str, source: Source, draft: _Draft) -> None:
    partition = None if is_url(data) else partition_file(Path(data))
    if partition is not None:
        draft.notes["partition"] = "partition.json next to the records is used"
        return
    draft.data["split"] = {"train": 0.7, "validation": 0.1, "test": 0.2}
    table = source.metadata
    if "group" in draft.data or table is None:
        return
    columns = [name for name in table.columns if name != "id" and 3 < table[name].n_unique() <= table.height // 2]
    grouping = [name for name in columns if any(word in name.lower() for word in _GROUPS)]
    if grouping:
        draft.data["group"] = grouping[0]
        draft.notes["group"] = "its values are kept in one part; chosen by its name"
    elif columns:
        draft.notes["no group"] = (
            f"group: {_scalar(columns[0])}   # if equal values must not be in two parts: " + ", ".join(columns)
        )


def _checked(text: str, draft: _Draft, source: Source, found: Inspection, folder: Path) -> str:
    """Open the parts as the recipe does; without the group that was chosen, if the classes do not allow it."""
    try:
        _open(text, folder)
        return text
    except TailfitError as error:
        if "group" not in draft.data or "group" not in draft.notes:
            raise
        chosen = draft.data.pop("group")
        del draft.notes["group"]
        draft.notes["no group"] = (
            f"group: {_scalar(chosen)}   # not possible with this split: {visible(error.received)}"
        )
        text = _text(draft, source, found)
        _open(text, folder)
        return text


def _open(text: str, folder: Path) -> None:
    open_parts(load_recipe(parse(text.encode()), folder=folder), fetch=True)


def _text(draft: _Draft, source: Source, found: Inspection) -> str:
    """Return the recipe as YAML with comments."""
    skewed = found.imbalance_ratio >= 3
    steps = "windows" in draft.data
    size = len(source)
    batch = 32 if size < 2000 else 64 if size < 20_000 else 128 if size < 200_000 else 256
    rarest = found.classes.row(-1, named=True)
    arrays = ", ".join(f"{path or 'record'} {what}" for path, what in found.arrays.items())
    loss, reason = ("LogitAdjusted", "corrects for rare classes") if skewed else ("CrossEntropy", "classes are similar")
    network, others = _network(None if steps else record_shape(source), size)
    lines = [
        f"# {size:,} samples of {len(found.classes)} classes; {visible(arrays)}",
        f"# rarest class: {visible(str(rarest['class']))!r} with {rarest['count']:,} samples ({rarest['share']:.2%}); "
        f"imbalance ratio {found.imbalance_ratio:.3g}",
        *_warnings(found),
        "data:",
        *_data_lines(draft),
        f"network: {network}   # or {others}; options: tailfit recipe schema",
        f"loss: {loss}   # {reason}; or Focal, LDAM, ...: see the page on losses",
        "sampler: Shuffle   # or ClassBalanced",
        "# class_weight: balanced   # not together with LogitAdjusted, which corrects for the same",
        "# correction: TemperatureScaling   # calibrated confidences; or Thresholds",
        f"batch_size: {batch}",
        "epochs: 30",
        "early_stopping: {patience: 5}   # on the balanced accuracy of the validation part",
        "# log: [tensorboard]   # or mlflow",
        "seed: 0",
        "compare:   # tailfit compare trains each of these, and tests whether it helps",
        "  seeds: 5",
        "  vary:",
        "    plain: {loss: CrossEntropy}",
        "    weighted: {loss: CrossEntropy, class_weight: balanced}",
        "    balanced: {loss: CrossEntropy, sampler: {name: ClassBalanced, power: 0.5}}",
        "    adjusted: {loss: LogitAdjusted}",
        "    focal: {loss: Focal}",
    ]
    return "\n".join(lines) + "\n"


def _network(shape: tuple[int, ...] | None, size: int) -> tuple[str, str]:
    """Return the network for records of a shape (None: windows of recordings), and others to try.

    Measured, see docs/networks.md: on windows of 20 steps `cnn` is among the best. On series of 80 to 270 steps, of
    which it covers 14 at a time, it is far behind `minirocket`.
    """
    if shape is not None and len(shape) != 2:
        return ("mlp", "your own function") if len(shape) < 2 else ("cnn", "mlp")
    if shape is not None and shape[0] >= _LONG and size <= _MOST_FOR_FEATURES:
        return "minirocket", "lite, cnn, rnn; with few records, add stage: RidgeClassifier"
    return "cnn", "minirocket or lite for patterns of more than 14 steps; rnn, mlp"


def _warnings(found: Inspection) -> list[str]:
    lines = []
    if found.duplicates:
        lines.append(
            f"# {len(found.duplicates)} groups of duplicate records, which may be in two parts; see tailfit inspect"
        )
    if found.lookalikes or found.missing_names:
        odd = [name for group in found.lookalikes for name in group] + list(found.missing_names)
        lines.append(f"# suspicious class names: {', '.join(repr(visible(name)) for name in odd[:6])}")
    if len(found.rare):
        lines.append(f"# {len(found.rare)} classes below 1 %: their recall has wide intervals")
    return lines


def _data_lines(draft: _Draft) -> list[str]:
    lines = []
    for key, value in draft.data.items():
        note = draft.notes.get(key)
        lines.append(f"  {key}: {_scalar(value)}" + (f"   # {visible(note)}" if note else ""))
    if "no group" in draft.notes:
        lines.append(f"  # {visible(draft.notes['no group'])}")
    if "partition" in draft.notes:
        lines.append(f"  # {draft.notes['partition']}; or split: {{train: 0.7, validation: 0.1, test: 0.2}}")
    if "windows" not in draft.data:
        lines.append("  # windows: {length: 64, stride: 32}   # cuts long records into windows")
    lines.append("  normalize: true   # each channel to mean 0 and standard deviation 1 of the training part")
    return lines


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line; JSON is YAML."""
    if isinstance(value, dict) and value.keys() <= {"length", "stride", "train", "validation", "test"}:
        return "{" + ", ".join(f"{key}: {_scalar(each)}" for key, each in value.items()) + "}"
    return json.dumps(value, ensure_ascii=True)
