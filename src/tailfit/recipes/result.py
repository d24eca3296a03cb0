"""The result of a finished run: weights, statistics and correction, which are read back without executing code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.data import FillMissing, Normalize
from tailfit.errors import CheckpointError, DataError, TailfitError
from tailfit.names import invalid_names
from tailfit.recipes.directory import Claim, damaged, read_fields
from tailfit.resume import tensors
from tailfit.resume.variables import described, restore, saved_entries, snapshot
from tailfit.storage.reading import digest_of
from tailfit.storage.writing import write_parts, write_text

__all__ = ["CHECKSUMMED", "VALIDATION", "Result", "finished_claim", "read_trained_arrays", "restore_result"]

_RESULT: Final = {"format": "tailfit.result", "version": 2}
CHECKSUMMED: Final = ("evaluation.json", "predictions.parquet", "weights.safetensors")
VALIDATION: Final = "validation.json"  # of runs with a validation part


@dataclass(frozen=True, eq=False)
class Result:
    """Everything besides the weights that is needed to use a trained network.

    Attributes:
        class_names: C names, in the order of the scores.
        train_counts: Number of training samples of each class.
        input_shape: Shape of one record.
        fill, normalize: Statistics of the training part, or None.
        scale, offset: The correction as a factor and a term for each class' logit; None without a correction.
        channels: Names of the channels of the training part, if its storage has them.
        statistics: Mean and standard deviation of each channel of (a sample of) the training part, to check that other
            data resemble it; None if a record has no channels, or an earlier version wrote the run.
        train_slices: Number of training samples of each value of metadata columns of text; None if an earlier version
            wrote the run.
        recordings: Whether the data are recordings, with a label for each step.
        drawn, weighted: Expected samples of each class, and sums of their weights, in the first and in the last epoch;
            for the page. None if an earlier version wrote the run.
    """

    class_names: tuple[str, ...]
    train_counts: tuple[float, ...]
    input_shape: tuple[int, ...]
    fill: FillMissing | None
    normalize: Normalize | None
    scale: NDArray[np.float64] | None
    offset: NDArray[np.float64] | None
    channels: tuple[str, ...] | None = None
    statistics: Normalize | None = None
    recordings: bool = False
    train_slices: Mapping[str, Mapping[str, int]] | None = None
    drawn: Sequence[Sequence[float]] | None = None
    weighted: Sequence[Sequence[float]] | None = None

    def corrected(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Apply the correction to logits of shape `(samples, C)`."""
        logits = np.asarray(scores, dtype=np.float64)
        return logits if self.scale is None or self.offset is None else logits * self.scale + self.offset

    def write(self, directory: Path, model: keras.Model, claim: Claim) -> None:
        """Write the weights, and then `result.json`, which marks the run of this claim as finished."""
        variables = _variables(model)
        entries = described(variables)
        arrays = {entry["array"]: np.asarray(snapshot(variables[entry["place"]])) for entry in entries}
        write_parts(directory / "weights.safetensors", tensors.parts(arrays))
        names = [*CHECKSUMMED, *[VALIDATION] * (directory / VALIDATION).is_file()]
        fill, scale = self.fill, _as_list(self.scale)
        document = {
            **_RESULT,
            **claim.as_json(),
            "files": {name: digest_of(directory / name) for name in names},
            "class_names": self.class_names,
            "train_counts": self.train_counts,
            "input_shape": self.input_shape,
            "fill": fill and {"method": fill.method, "mean": _as_list(fill.mean), "mask": fill.mask},
            "normalize": _as_fields(self.normalize),
            "channels": self.channels,
            "statistics": _as_fields(self.statistics),
            "recordings": self.recordings,
            "train_slices": self.train_slices,
            "drawn": self.drawn,
            "weighted": self.weighted,
            "correction": scale and {"scale": scale, "offset": _as_list(self.offset)},
            "variables": entries,
        }
        write_text(directory / "result.json", json.dumps(document, indent=1, allow_nan=False))

    @classmethod
    def read(cls, directory: Path) -> tuple[Self, Sequence[Mapping[str, Any]]]:
        """Read the result of a run, and the entry of each variable for `restore_result`.

        Raises:
            DataError: If the run is not finished, or the file is damaged.
        """
        path, fields = _read(directory)
        try:
            fill, normalize, correction = (fields[key] for key in ("fill", "normalize", "correction"))
            channels, statistics = fields.get("channels"), fields.get("statistics")
            result = cls(
                class_names=_class_names(fields["class_names"]),
                train_counts=tuple(map(float, fields["train_counts"])),
                input_shape=tuple(map(int, fields["input_shape"])),
                fill=None if fill is None else FillMissing(**fill),
                normalize=None if normalize is None else Normalize(**normalize),
                scale=None if correction is None else _vector(correction["scale"], len(fields["class_names"])),
                offset=None if correction is None else _vector(correction["offset"], len(fields["class_names"])),
                channels=None if channels is None else _channel_names(channels),
                statistics=None if statistics is None else Normalize(**statistics),
                recordings=fields.get("recordings") is True,
                train_slices=_counts(fields.get("train_slices")),
            )
            entries = saved_entries(fields["variables"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, TailfitError) as error:
            raise damaged(path, f"{type(error).__name__}: {error}") from error
        return result, entries


def finished_claim(directory: Path, checked: Sequence[str] = CHECKSUMMED) -> Claim:
    """Return the claim of a finished run, after checking its files.

    Args:
        directory: Directory of the run.
        checked: Names of the files whose checksums are compared.
    Raises:
        DataError: If the run is not finished, or a file is damaged or missing.
    """
    path, fields = _read(directory)
    files = fields.get("files")
    for name in checked:
        known = files.get(name) if isinstance(files, dict) else None
        size = known.get("bytes") if isinstance(known, dict) else None
        # The read is bounded by the recorded size: the path may have become a device without end.
        if not isinstance(size, int) or digest_of(directory / name, size) != known:
            raise damaged(directory / name, "a checksum that differs from the one in result.json")
    return Claim.of(fields, path)


def _read(directory: Path) -> tuple[Path, dict[str, Any]]:
    path = directory / "result.json"
    if not path.is_file():
        raise DataError(
            f"{directory}, which contains no result.json",
            expected="the directory of a finished run",
            fix="run tailfit train again to continue and finish the run",
        )
    return path, read_fields(path, _RESULT)


def read_trained_arrays(directory: Path, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, NDArray[Any]]:
    """Read the final weights of a run.

    Args:
        directory: Directory of the run.
        entries: Entries of the variables, from `Result.read`.
    Raises:
        CheckpointError: If the file is damaged, or lacks an array.
        OSError: If the file can't be read.
    """
    arrays = tensors.read(directory / "weights.safetensors")
    missing = [entry["array"] for entry in entries if entry["array"] not in arrays]
    if missing:
        raise CheckpointError(
            f"{directory / 'weights.safetensors'} without {missing[0]!r}",
            expected="the weights that result.json names",
            fix="train again, or restore both files",
        )
    return arrays


def restore_result(
    model: keras.Model, entries: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Load the final weights of a run into a network that is built in the same way.

    Raises:
        CheckpointError: If the network's variables differ.
    """
    restore(_variables(model), entries, arrays)


def _variables(model: keras.Model) -> dict[str, Any]:
    return {f"{place:04d}": variable for place, variable in enumerate(model.variables)}


def _as_list(values: NDArray[np.float64] | None) -> list[float] | None:
    return None if values is None else values.tolist()


def _vector(values: Any, size: int) -> NDArray[np.float64]:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"{size} finite numbers expected")
    return vector


def _as_fields(normalize: Normalize | None) -> dict[str, Any] | None:
    return None if normalize is None else {"mean": _as_list(normalize.mean), "std": _as_list(normalize.std)}


def _counts(tables: Any) -> Mapping[str, Mapping[str, int]] | None:
    if tables is None:
        return None
    for counts in tables.values():
        if invalid_names(list(counts)) or not all(type(count) is int for count in counts.values()):
            raise ValueError("training counts that are not whole numbers by value")
    return tables  # type: ignore[no-any-return]


def _channel_names(values: Any) -> tuple[str, ...]:
    names = tuple(values)
    if odd := invalid_names(names):
        raise ValueError(f"{odd[0]!r} is not a valid name of a channel")
    return names


def _class_names(values: Any) -> tuple[str, ...]:
    names = tuple(values)
    if odd := invalid_names(names):
        raise ValueError(f"{odd[0]!r} is not a valid class name")
    return names
