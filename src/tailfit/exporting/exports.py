"""`export`: write a finished run as one file for other programs, and compare its scores with those of the run.

The file is compared twice: with the network of the run, computed on the CPU with tailfit's own filling and correction,
for records of the test part and for the same records with further readings missing; and with the predictions that the
run wrote when it ended. These may come from a GPU, whose float32 is less precise, so their limit is wider.
"""

import queue
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data import Source
from tailfit.errors import ArgumentError, DataError, ExportError, TailfitError, WorkerError
from tailfit.evaluation.stored import read_scores
from tailfit.exporting.formats import Format, backend_for, format_of
from tailfit.exporting.network import raw_shape
from tailfit.processes.child import Child, Events, child_environment, python_command
from tailfit.processes.messages import error_of
from tailfit.recipes.data_identity import describe_change, identity_of_data
from tailfit.recipes.directory import Claim, check_not_of_run
from tailfit.recipes.parts import open_other_data, open_part, record_shape
from tailfit.recipes.recipe import Recipe, load_recipe
from tailfit.recipes.result import Result, finished_claim
from tailfit.resume.signals import exit_on_sigterm
from tailfit.storage.writing import DraftFolder

__all__ = ["Exported", "export"]

_RECORDS: Final = 256
_BYTES: Final = 1 << 26  # of the records
_GAPS: Final = 0.3  # share of readings that are removed from the copies of the records
_LIMIT: Final = 1e-5  # of the difference from the network, relative to the largest score if that is above 1
_HALF_LIMIT: Final = 1e-2  # the same for networks that compute in half precision
_RECORDED_LIMIT: Final = 1e-3  # of the difference from the predictions of the run
_CPU: Final = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
_SHOWN: Final = 4000  # characters of the output of a process that died
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        path: Path of the file, or of the folder of a SavedModel.
        format: Its format.
        backend: Backend that wrote it.
        samples: Number of samples whose scores were compared.
        difference: Largest difference of a score from the network of the run.
        recorded_difference: Largest difference from the predictions that the run wrote; None if other data were used.
    """

    path: Path
    format: Format
    backend: str
    samples: int
    difference: float
    recorded_difference: float | None


def export(
    run: str | PathLike[str],
    out: str | PathLike[str],
    *,
    format: Format | None = None,
    backend: str | None = None,
    data: str | PathLike[str] | Source | None = None,
    modules: Sequence[str] = (),
    fetch: bool = False,
) -> Exported:
    """Write a finished run as one file that takes raw records and returns scores, and needs no tailfit.

    The file contains the filling of missing readings, the normalisation, the network and the correction. Its input is
    `records`, float32 of shape `(batch, *record)`, as stored, with NaN for missing readings if the recipe fills them;
    its output `scores`, the corrected logits `(batch, C)`. Names of classes and channels are stored in it, too.

    Args:
        run: Directory of the run.
        out: Path of the new file; for `saved_model` of a new folder.
        format: `"keras"`, `"onnx"`, `"saved_model"` or `"torch"` (a program of `torch.export`, `.pt2`); by default that
            of the file name.
        backend: Backend that writes ONNX; by default that of the run if its converter is installed.
        data: Path of records like those of the training, or a source of them, to check the file with; by default the
            test part of the run's own data, whose predictions the run has recorded.
        modules: See `tailfit.recipes.train`.
        fetch: Whether the run's data may be downloaded.
    Raises:
        DataError: If the run is not finished or is damaged, or the data can't be read or have changed.
        ArgumentError: If the format is unknown, or `out` exists.
        PackageError: If a package that the format needs is not installed.
        ExportError: If the format can't contain the network, or the scores of the file differ; then no file is written.
        OSError: If the file can't be written.

    >>> import tailfit
    >>> from tailfit.recipes import train
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> x = rng.normal(3.0 * y[:, None], size=(200, 4)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["leak", "ok"])[y])
    ...     run = train({"data": {"path": f"{folder}/pumps"}, "epochs": 1}, f"{folder}/run")
    ...     exported = export(run.directory, f"{folder}/pumps.keras")
    >>> exported.format, exported.samples, exported.difference < 1e-5
    ('keras', 40, True)
    """
    place, path = Path(fspath(run)).absolute(), Path(fspath(out)).absolute()
    kind = format_of(path, format)
    claim = finished_claim(place, ["weights.safetensors", "predictions.parquet"])
    recipe = load_recipe(claim.recipe, modules=modules, folder=claim.folder)
    result, _ = Result.read(place)
    chosen = backend_for(kind, backend or claim.backend)
    if backend not in (None, chosen):
        raise ArgumentError(
            f"backend={backend!r} for the format {kind}", expected=f"the backend {chosen}", fix="leave out backend"
        )
    check_not_of_run(path)
    if path.exists() or path.is_symlink():
        raise ArgumentError(f"{path}, which exists", expected="a new file or folder", fix="choose a different name")
    # The folder is created first, so that a missing permission is an error before the work begins.
    with exit_on_sigterm(), DraftFolder(path) as work:
        records, recorded = _records(recipe, result, claim, place, data, fetch)
        folder = work.path
        np.save(folder / "records.npy", records)
        job = {
            "run": str(place),
            "modules": list(modules),
            "format": kind,
            "folder": str(folder),
            "description": _description(result, place),
        }
        half = _written(job, chosen)
        expected, scores = (
            np.load(folder / "expected.npy", allow_pickle=False),
            np.load(folder / "scores.npy", allow_pickle=False),
        )
        difference = _checked(scores, expected, _HALF_LIMIT if half else _LIMIT, "the network of the run")
        from_run = None
        if recorded is not None:
            limit = _HALF_LIMIT if half else _RECORDED_LIMIT
            from_run = _checked(scores[: len(recorded)], recorded, limit, "the predictions of the run")
        work.place(_written_file(folder / "written"))
    return Exported(path, kind, chosen, len(records), difference, from_run)


def _description(result: Result, place: Path) -> dict[str, Any]:
    return {
        "class_names": list(result.class_names),
        "channels": None if result.channels is None else list(result.channels),
        "scores": "logits; their softmax is the confidence",
        "run": place.name,
    }


def _records(
    recipe: Recipe, result: Result, claim: Claim, place: Path, data: Any, fetch: bool
) -> tuple[Floats, NDArray[np.float64] | None]:
    """Return raw records to check with, and the scores that the run recorded for the first of them."""
    recorded = None
    if isinstance(data, Source):
        source = data
    elif data is not None:
        source = open_other_data(
            recipe, fspath(data), None, channels=result.channels, recordings=result.recordings, labels=False
        )
    else:
        source = _test_part(recipe, claim, fetch)
    if not len(source):
        raise DataError(f"{source!r}", expected="at least one record", fix="check the path of the data")
    shape = raw_shape(result)
    if record_shape(source) != shape:
        raise DataError(
            f"records of shape {record_shape(source)}",
            expected=f"records of shape {shape}, as in the training",
            fix="pass records like those of the training",
        )
    nbytes = np.asarray(source.read([0])).nbytes
    count = max(1, min(len(source), _RECORDS, _BYTES // max(nbytes, 1)))
    chosen = np.arange(count) * len(source) // count
    records = np.asarray(source.read(chosen)).astype(np.float32)
    if data is None:
        recorded = _recorded(place, [source.ids[k] for k in chosen.tolist()], result)
    if result.fill is not None:
        gaps = records.copy()
        gaps[np.random.default_rng(0).random(gaps.shape) < _GAPS] = np.nan
        gaps[:1, ..., 0] = np.nan  # a channel without any reading
        records = np.concatenate([records, gaps])
    return records, recorded


def _test_part(recipe: Recipe, claim: Claim, fetch: bool) -> Source:
    other = "; or pass --data (in Python: data=) with records like those of the training"
    try:
        source = open_part(recipe, "test", None, fetch=fetch)
        changed = describe_change(claim.data, identity_of_data(recipe))
    except TailfitError as error:
        raise type(error)(error.received, expected=error.expected, fix=error.fix + other) from error
    if changed:
        raise DataError(
            f"{recipe.data.path}, whose data have changed since the training: {changed}",
            expected="the data of the run, to compare the exported file with its predictions",
            fix="restore the data" + other,
        )
    return source


def _recorded(place: Path, ids: Sequence[str], result: Result) -> NDArray[np.float64]:
    """Return the scores that the run recorded for these samples."""
    known, scores = read_scores(place, result.class_names)
    rows = {name: row for row, name in enumerate(known)}
    return scores[[rows[name] for name in ids]]


def _written(job: Mapping[str, Any], backend: str) -> bool:
    """Write the file in a process of its own, and return whether the network computes in half precision."""
    events: Events = queue.Queue()
    environment = child_environment({**_CPU, "KERAS_BACKEND": backend})
    with tempfile.TemporaryFile() as output:
        child = Child(python_command("tailfit.exporting.process"), environment, output, events)
        try:
            child.send(job)
            while True:
                try:
                    _, message = events.get(timeout=1.0)
                except queue.Empty:
                    continue
                if message is None:
                    output.seek(max(0, output.seek(0, 2) - _SHOWN))
                    error = WorkerError(
                        f"a process that {child.end} while it wrote the file",
                        expected="a process that runs to the end",
                        fix="see its last output above; more memory may help",
                    )
                    error.add_note(output.read().decode(errors="replace").strip())
                    raise error
                if "error" in message:
                    raise error_of(message["error"], f"the export with {backend}")
                if "done" in message:
                    return bool(message["half"])
        finally:
            child.kill()


def _written_file(folder: Path) -> Path:
    (content, *others) = sorted(folder.iterdir())
    if others:
        raise ExportError(
            f"a network that needs a second file, {others[0].name}",
            expected="one file; ONNX stores at most 2 GB in one",
            fix="choose the format keras, saved_model or torch",
        )
    return content


def _checked(scores: NDArray[Any], expected: NDArray[Any], limit: float, what: str) -> float:
    """Return the largest difference of scores.

    Raises:
        ExportError: If it is above the limit.
    """
    same_shape = scores.shape == expected.shape
    difference = float(np.abs(scores - expected).max()) if same_shape else np.inf
    allowed = limit * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # also NaN
        raise ExportError(
            f"an exported file whose scores differ from {what} by up to {difference:.3g}",
            expected=f"a difference of at most {allowed:.1g}",
            fix="no file was written; choose a different format or backend, and report this if layers are Keras' own",
        )
    return difference
