"""The packed layout: a few large `.npy` files, an index, and a manifest.

root/pack.json              format, number of samples, arrays of a record, files with their SHA-256
root/index.parquet          one row per sample: `id`, its `label` if any, its metadata as `metadata.<column>`, and its
                            `steps` if records differ in length; the index `group` and `group_name` of its group if any;
                            its `step_labels`, the class index of each step, if steps have labels
root/data/00-00000.npy      array 00 of the records of shard 00000. All shards except the last have the same number of
                            records. Records of different length are concatenated along their steps.

Any NumPy and any Parquet reader can read everything except the manifest, whose content is redundant.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.memory import holdable
from tailfit.data.files.npy import stored_dtype
from tailfit.data.records.ragged import Ragged
from tailfit.data.tables.reading import read_json
from tailfit.errors import RecordError
from tailfit.names import invalid_names
from tailfit.storage.writing import write_text

__all__ = ["FORMAT", "Leaf", "Manifest", "describe", "file_name", "ordered_leaves", "rebuild"]

FORMAT = 1
_MAX_NUMBER = (1 << 62) - 1
_SEQUENCES: dict[str, type[list[Any]] | type[tuple[Any, ...]]] = {"list": list, "tuple": tuple}


@dataclass(frozen=True)
class Leaf:
    """Shape and dtype of one of the arrays of a record.

    Attributes:
        shape: Shape of the array in one record; of one step if ragged.
        dtype: Its dtype.
        ragged: Whether its first axis differs in length from record to record.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ragged: bool = False

    @classmethod
    def of(cls, batch: NDArray[Any] | Ragged) -> "Leaf":
        """Describe a batch of records, an array with the records on its first axis."""
        rows = batch.values if isinstance(batch, Ragged) else batch
        return cls(rows.shape[1:], rows.dtype.newbyteorder("="), isinstance(batch, Ragged))

    @property
    def nbytes(self) -> int:
        """Bytes per record; per step if ragged."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Manifest:
    """The content of `pack.json`.

    Attributes:
        samples: Number of samples.
        rows: Records per shard; the last shard may have fewer.
        steps: Total steps of all records if they differ in length; else 0.
        tree: The nest of a record, with the indices of leaves in place of arrays (see `describe`).
        leaves: The arrays of a record.
        labels: Kind of the labels, or None.
        class_names: Class names in the order of the class indices.
        digests: SHA-256 of each file under `data/`, by name.
        group_by: What the groups are, see `tailfit.data.grouping.Grouping`; None without groups.
        step_labels: Whether each step of a record has a label.
        keeps_missing: Whether NaN is expected in the records.
        channels: Names of the entries of a record's last axis, or None.
        step_seconds: Usual time between two steps of a record in seconds, or None.
    """

    samples: int
    rows: int
    tree: Any
    leaves: tuple[Leaf, ...]
    labels: str | None
    class_names: tuple[str, ...]
    digests: dict[str, str]
    steps: int = 0
    group_by: str | None = None
    step_labels: bool = False
    keeps_missing: bool = False
    channels: tuple[str, ...] | None = None
    step_seconds: float | None = None

    @property
    def nbytes(self) -> int:
        """Total bytes of all records."""
        return sum(leaf.nbytes * (self.steps if leaf.ragged else self.samples) for leaf in self.leaves)

    @property
    def record_bytes(self) -> int:
        """Bytes per record, over all its arrays; the mean if records differ in length."""
        return self.nbytes // max(self.samples, 1)

    @property
    def ragged(self) -> bool:
        """Whether records differ in length."""
        return any(leaf.ragged for leaf in self.leaves)

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.samples // self.rows)

    def rows_of(self, shard: int) -> int:
        """Return the number of records in a shard."""
        return min(self.rows, self.samples - shard * self.rows)

    def write(self, path: Path) -> None:
        """Write the manifest as JSON."""
        content = {
            "format": FORMAT,
            "samples": self.samples,
            "rows": self.rows,
            "tree": self.tree,
            "leaves": [_described(leaf) for leaf in self.leaves],
            **({"steps": self.steps} if self.ragged else {}),
            "labels": self.labels,
            "class_names": self.class_names,
            **({} if self.group_by is None else {"group_by": self.group_by}),
            **({"step_labels": True} if self.step_labels else {}),
            **({"keeps_missing": True} if self.keeps_missing else {}),
            **({} if self.channels is None else {"channels": self.channels}),
            **({} if self.step_seconds is None else {"step_seconds": self.step_seconds}),
            "digests": self.digests,
        }
        write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read a manifest from JSON.

        Raises:
            RecordError: If the file is not a manifest, or has a newer format.
        """
        content = read_json(path)
        if content.get("format") != FORMAT:
            raise RecordError(
                f"{path}: format {content.get('format')!r}",
                expected=f"format {FORMAT}",
                fix="update tailfit, or pack the data again",
            )
        try:
            manifest = cls(
                samples=_whole(content["samples"]),
                rows=_whole(content["rows"], least=1),
                tree=content["tree"],
                leaves=tuple(_leaf(leaf) for leaf in content["leaves"]),
                labels=content["labels"],
                class_names=tuple(content["class_names"]),
                digests={str(name): str(digest) for name, digest in content["digests"].items()},
                steps=_whole(content.get("steps", 0)),
                group_by=content.get("group_by"),
                step_labels=content.get("step_labels") is True,
                keeps_missing=content.get("keeps_missing") is True,
                channels=None if content.get("channels") is None else tuple(content["channels"]),
                step_seconds=_duration(content.get("step_seconds")),
            )
            if not isinstance(manifest.group_by, str | None):
                raise ValueError(f"group_by {manifest.group_by!r}")
            for what, names in (("class name", manifest.class_names), ("channel", manifest.channels or ())):
                if odd := invalid_names(names):
                    raise ValueError(f"the {what} {odd[0]!r}")
            numbers = sorted(_leaf_numbers(manifest.tree))
            if numbers != list(range(len(manifest.leaves))):
                raise ValueError(f"a tree of the leaves {numbers} for {len(manifest.leaves)} leaves")
            files = len(numbers) * manifest.shards
            # Compare the number first: a damaged manifest may claim so many shards that listing them never ends.
            if files != len(manifest.digests) or manifest.digests.keys() != {
                file_name(leaf, shard) for leaf in numbers for shard in range(manifest.shards)
            }:
                raise ValueError(f"digests of {len(manifest.digests)} files instead of the {files} files of its shards")
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise RecordError(
                f"{path}: {type(error).__name__}: {error}",
                expected="the manifest that tailfit.data.pack wrote",
                fix="pack the data again",
            ) from error
        return manifest


def file_name(leaf: int, shard: int) -> str:
    """Return the name of the file with a leaf's array of a shard."""
    return f"{leaf:02d}-{shard:05d}.npy"


def describe(tree: Any, numbers: Any) -> Any:
    """Return a nest as JSON: a leaf becomes the next number, a dict, list or tuple an object `{kind: parts}`."""
    if isinstance(tree, dict):
        return {"dict": {str(key): describe(value, numbers) for key, value in tree.items()}}
    if isinstance(tree, list | tuple):
        kind = "list" if isinstance(tree, list) else "tuple"
        return {kind: [describe(value, numbers) for value in tree]}
    return next(numbers)


def ordered_leaves(described: Any, records: Any) -> list[Any]:
    """Return the leaves of a nest in the order of their numbers in `described`; dicts are matched by key.

    Raises:
        ValueError: If the nest has a different structure.
    """
    if isinstance(described, int):
        if isinstance(records, dict | list | tuple):
            raise ValueError(f"a {type(records).__name__} in place of an array")
        return [records]
    ((kind, inner),) = described.items()
    if kind == "dict" and isinstance(records, dict):
        parts = {str(key): value for key, value in records.items()}
        if parts.keys() == inner.keys():
            return [leaf for key, part in inner.items() for leaf in ordered_leaves(part, parts[key])]
    elif kind != "dict" and isinstance(records, _SEQUENCES[kind]) and len(records) == len(inner):
        return [leaf for part, value in zip(inner, records, strict=True) for leaf in ordered_leaves(part, value)]
    keys = f" of {sorted(map(str, records))}" if isinstance(records, dict) else ""
    raise ValueError(f"a {type(records).__name__}{keys} in place of a {kind} of {len(inner)} parts: {described}")


def rebuild(described: Any, leaves: Any) -> Any:
    """Build the nest that `describe` described from its leaves."""
    if isinstance(described, int):
        return leaves[described]
    ((kind, inner),) = described.items()
    if kind == "dict":
        return {key: rebuild(value, leaves) for key, value in inner.items()}
    return _SEQUENCES[kind](rebuild(value, leaves) for value in inner)


def _leaf_numbers(described: Any) -> list[int]:
    if isinstance(described, int) and not isinstance(described, bool):
        return [described]
    ((kind, inner),) = described.items()
    if kind not in ("dict", "list", "tuple"):
        raise ValueError(f"a nest of kind {kind!r}")
    return [number for value in (inner.values() if kind == "dict" else inner) for number in _leaf_numbers(value)]


def _described(leaf: Leaf) -> dict[str, Any]:
    return {"shape": leaf.shape, "dtype": leaf.dtype.str, **({"ragged": True} if leaf.ragged else {})}


def _leaf(content: Any) -> Leaf:
    dtype = stored_dtype(content["dtype"])
    if dtype.hasobject:
        raise ValueError(f"type {dtype}")
    shape = tuple(_whole(size) for size in content["shape"])
    if not holdable(shape, dtype.itemsize):
        raise ValueError(f"an array of {len(shape)} axes that is too large for any memory")
    return Leaf(shape, dtype, content.get("ragged") is True)


def _duration(value: Any) -> float | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")):
        return value
    raise ValueError(f"step_seconds {value!r}")


def _whole(value: Any, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX_NUMBER:
        raise ValueError(f"{value!r} instead of a whole number from {least} to {_MAX_NUMBER}")
    return value
