"""What a finished run leaves: the network's numbers and what goes with them, read again without running anything."""

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
from tailfit.names import first_odd
from tailfit.recipes.directory import Claim, damaged, read_fields
from tailfit.resume import tensors
from tailfit.resume.variables import described, held, restore, saved_entries
from tailfit.storage.reading import digest_of
from tailfit.storage.writing import write_parts, write_text

__all__ = ["Result", "finished_claim", "restore_result", "trained_arrays"]

_RESULT: Final = {"format": "tailfit.result", "version": 2}
_SEALED: Final = ("evaluation.json", "predictions.parquet", "weights.safetensors")  # whose checksums it holds


@dataclass(frozen=True, eq=False)
class Result:
    """A trained network's numbers, and what goes with them.

    Attributes:
        class_names: C names, in the order of the scores.
        train_counts: Training samples of each class.
        input_shape: Of one record.
        fill, normalize: What was learnt of the training part, or None.
        scale, offset: Of each class' logit, what the correction does; None without one.
    """

    class_names: tuple[str, ...]
    train_counts: tuple[float, ...]
    input_shape: tuple[int, ...]
    fill: FillMissing | None
    normalize: Normalize | None
    scale: NDArray[np.float64] | None
    offset: NDArray[np.float64] | None

    def corrected(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Logits as the correction leaves them."""
        logits = np.asarray(scores, dtype=np.float64)
        return logits if self.scale is None or self.offset is None else logits * self.scale + self.offset

    def write(self, directory: Path, model: keras.Model, claim: Claim) -> None:
        """Write weights, and then what says that the run of this claim is finished."""
        variables = _variables(model)
        entries = described(variables)
        arrays = {entry["array"]: np.asarray(held(variables[entry["place"]])) for entry in entries}
        write_parts(directory / "weights.safetensors", tensors.parts(arrays))
        fill, normalize, scale = self.fill, self.normalize, _listed(self.scale)
        document = {
            **_RESULT,
            **claim.as_json(),
            "files": {name: digest_of(directory / name) for name in _SEALED},
            "class_names": self.class_names,
            "train_counts": self.train_counts,
            "input_shape": self.input_shape,
            "fill": fill and {"method": fill.method, "mean": _listed(fill.mean), "mask": fill.mask},
            "normalize": normalize and {"mean": _listed(normalize.mean), "std": _listed(normalize.std)},
            "correction": scale and {"scale": scale, "offset": _listed(self.offset)},
            "variables": entries,
        }
        write_text(directory / "result.json", json.dumps(document, indent=1, allow_nan=False))

    @classmethod
    def read(cls, directory: Path) -> tuple[Self, Sequence[Mapping[str, Any]]]:
        """What was written, and what each variable is.

        Raises:
            DataError: it is not there yet, or damaged.
        """
        path, fields = _read(directory)
        try:
            fill, normalize, correction = (fields[key] for key in ("fill", "normalize", "correction"))
            made = cls(
                class_names=_names(fields["class_names"]),
                train_counts=tuple(map(float, fields["train_counts"])),
                input_shape=tuple(map(int, fields["input_shape"])),
                fill=None if fill is None else FillMissing(**fill),
                normalize=None if normalize is None else Normalize(**normalize),
                scale=None if correction is None else _vector(correction["scale"], len(fields["class_names"])),
                offset=None if correction is None else _vector(correction["offset"], len(fields["class_names"])),
            )
            entries = saved_entries(fields["variables"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, TailfitError) as error:
            raise damaged(path, f"{type(error).__name__}: {error}") from error
        return made, entries


def finished_claim(directory: Path, sealed: Sequence[str] = _SEALED) -> Claim:
    """What was trained on what, of a finished run whose files are as it left them.

    Args:
        directory: Of the run.
        sealed: The files that are held against their checksums.
    Raises:
        DataError: it is not finished, or a file is damaged or missing.
    """
    path, fields = _read(directory)
    files = fields.get("files")
    for name in sealed:
        known = files.get(name) if isinstance(files, dict) else None
        size = known.get("bytes") if isinstance(known, dict) else None
        # No more is read than was written: a file may have become one without end.
        if not isinstance(size, int) or digest_of(directory / name, size) != known:
            raise damaged(directory / name, "other bytes than result.json tells of")
    return Claim.of(fields, path)


def _read(directory: Path) -> tuple[Path, dict[str, Any]]:
    path = directory / "result.json"
    if not path.is_file():
        raise DataError(
            f"{directory}, in which no result.json lies",
            expected="the directory of a finished run",
            fix="run tailfit train again: it goes on where it was ended",
        )
    return path, read_fields(path, _RESULT)


def trained_arrays(directory: Path, entries: Sequence[Mapping[str, Any]]) -> Mapping[str, NDArray[Any]]:
    """Read the weights that a run ended with.

    Raises:
        CheckpointError: for damaged weights, or some that are missing.
        OSError: for weights that can't be read.
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
    """Give a network, built as it was, the weights that a run ended with.

    Raises:
        CheckpointError: for a network that is another one.
    """
    restore(_variables(model), entries, arrays)


def _variables(model: keras.Model) -> dict[str, Any]:
    return {f"{place:04d}": variable for place, variable in enumerate(model.variables)}


def _listed(values: NDArray[np.float64] | None) -> list[float] | None:
    return None if values is None else values.tolist()


def _vector(values: Any, size: int) -> NDArray[np.float64]:
    vector = np.array(values, dtype=np.float64)
    if vector.shape != (size,) or not np.isfinite(vector).all():
        raise ValueError(f"{size} finite numbers expected")
    return vector


def _names(values: Any) -> tuple[str, ...]:
    names = tuple(values)
    if (odd := first_odd(names)) is not None:
        raise ValueError(f"{odd!r} is no name")
    return names
