"""Predictions of a finished run for data without labels: in batches, larger than memory, and resumable."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.arguments import whole_number
from tailfit.data import Batches, Source
from tailfit.data.remote.fetching import is_url
from tailfit.data.source import Numbered
from tailfit.errors import ArgumentError
from tailfit.recipes.data_identity import identity_of_data
from tailfit.recipes.directory import check_not_of_run
from tailfit.recipes.likeness import check_same_shape, warn_of_other_statistics
from tailfit.recipes.parts import as_in_training, open_other_data
from tailfit.recipes.prediction_parts import parts_of
from tailfit.recipes.prediction_table import Format, as_bytes, format_of, places_of, prediction_table
from tailfit.recipes.recipe import Recipe
from tailfit.recipes.trained import Trained, load_trained
from tailfit.resume.signals import exit_on_sigterm
from tailfit.samplers import Sequential
from tailfit.storage.reading import digest_of

__all__ = ["Predictions", "predict"]

_MOST_ROWS: Final = 1 << 17  # rows of a part
_MOST_SCORES: Final = 1 << 24  # scores of a part
_FIRST_BATCHES: Final = 8  # batches of the first part
_SECONDS: Final = 10.0  # duration of a part: what is lost at most when the process is killed
_BATCH_BYTES: Final = 1 << 22
_BATCH_ROWS: Final = 1024


@dataclass(frozen=True, eq=False)
class Predictions:
    """The outcome of `predict`.

    Attributes:
        samples: Number of samples in the output.
        abstained: Number of them without a decision.
        continued: Number of samples that an earlier, interrupted call had already predicted.
        table: The rows, if no output was given; else None.
    """

    samples: int
    abstained: int
    continued: int
    table: pl.DataFrame | None


def predict(
    run: str | PathLike[str],
    data: str | PathLike[str] | Source,
    out: str | PathLike[str] | BinaryIO | None = None,
    *,
    format: Format | None = None,
    abstain: float = 0.0,
    batch_size: int | None = None,
    modules: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Predictions:
    """Predict the class of each sample with the network and the correction of a finished run.

    Labels in the data are not read. Columns of the output: `id`; of windows `record` and `start`, the first step;
    `predicted`, the class with the largest corrected score; `decision`, the same, or empty if the confidence is below
    `abstain`; `confidence`, the softmax of the corrected scores; and `score NAME` for each class, the corrected logits.

    A file is written in parts, which are joined at the end. After an interruption the same call continues; the file at
    `out` is replaced only when it is complete.

    Args:
        run: Directory of the run.
        data: Path or URL for `tailfit.data.open`, or a source of records like those of the training. It is read with
            the options, windows and filling of the run's recipe.
        out: Path of a `.parquet`, `.csv` or `.jsonl` file, or a binary stream; None returns the table.
        format: Format of the output; by default that of the file name, and JSON lines for a stream.
        abstain: Confidence in [0, 1] below which a decision is left to a person.
        batch_size: Samples per batch; by default the recipe's, or up to 1024 if records are small. The last digits of
            scores may depend on it.
        modules: See `tailfit.recipes.train`.
        progress: Function called as `progress(samples_done, samples)`.
    Raises:
        DataError: If the run is not finished or is damaged; or records have a different shape or different channels.
        ArgumentError: If the format is unknown, an option is out of range, or `out` is a file of a run.
        CheckpointError: If another process writes the same output.
        OSError: If the output can't be written.
    Warns:
        DataWarning: If channels have a very different mean or spread than in training.

    >>> import tempfile, numpy as np, tailfit
    >>> from tailfit.recipes import predict, train
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 2, 200)
    >>> x = rng.normal(3.0 * y[:, None], size=(200, 4)).astype("float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tailfit.data.save_npy_folder(f"{folder}/pumps", x, np.array(["leak", "ok"])[y])
    ...     run = train({"data": {"path": f"{folder}/pumps"}, "epochs": 5}, f"{folder}/run")
    ...     table = predict(run.directory, tailfit.data.Arrays(x[:3], ids=["a", "b", "c"])).table
    >>> table.columns
    ['id', 'predicted', 'decision', 'confidence', 'score leak', 'score ok']
    """
    if isinstance(abstain, bool) or not isinstance(abstain, int | float) or not 0 <= abstain <= 1:
        raise ArgumentError(
            f"abstain={abstain!r}",
            expected="a confidence from 0 to 1",
            fix="use 0.9, for example, or 0 to decide always",
        )
    path = Path(fspath(out)).absolute() if isinstance(out, str | PathLike) else None
    kind = "jsonl" if out is None else format_of(path, format)
    if path is not None:
        check_not_of_run(path)
    place = Path(fspath(run)).absolute()
    with exit_on_sigterm():
        trained = load_trained(place, modules)
        source = _opened(trained, data)
        check_same_shape(source, trained.result)
        warn_of_other_statistics(source, trained.result)
        size = (
            _batch_size(trained.recipe, source)
            if batch_size is None
            else whole_number("batch_size", batch_size, least=1)
        )
        rows = _Rows(trained, source, size, abstain, progress)
        if path is None:
            return _streamed(rows, out, kind)
        claim = {
            "run": digest_of(place / "result.json"),
            "data": _identity(trained.recipe, data, source),
            "format": kind,
            "abstain": abstain,
            "batch_size": size,
        }
        with parts_of(path, kind, claim) as parts:
            done = parts.done
            for start, stop, table in rows.tables(done):
                parts.add(start, stop, table["decision"].null_count(), as_bytes(table, kind, header=start == 0))
            abstained = parts.finish()
    return Predictions(len(source), abstained, done, None)


class _Rows:
    """The predictions of a source, in tables of consecutive samples."""

    def __init__(
        self,
        trained: Trained,
        source: Source,
        batch_size: int,
        abstain: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._trained, self._source = trained, source
        self._batch_size, self._abstain = batch_size, abstain
        self._progress = progress

    def tables(self, start: int) -> Iterator[tuple[int, int, pl.DataFrame]]:
        """Yield first position, last position + 1 and table, from the sample at `start` on.

        Tables have whole batches, so that programs are compiled for two shapes only; they grow until one takes ten
        seconds.
        """
        size, names = len(self._source), self._trained.result.class_names
        places = places_of(self._source)
        most = max(1, min(_MOST_ROWS, _MOST_SCORES // len(names)) // self._batch_size)
        batches = min(_FIRST_BATCHES, most)
        while start < size:
            stop, begun = min(start + batches * self._batch_size, size), time.perf_counter()
            scores = self._trained.result.corrected(self._scores(start, stop))
            chosen = None if places is None else places[start:stop]
            yield start, stop, prediction_table(self._source.ids[start:stop], scores, names, self._abstain, chosen)
            if self._progress is not None:
                self._progress(stop, size)
            if time.perf_counter() - begun < _SECONDS / 4:
                batches = min(4 * batches, most)
            start = stop

    def _scores(self, start: int, stop: int) -> NDArray[Any]:
        batches = Batches(_Span(self._source, start, stop), batch_size=self._batch_size, sampler=Sequential())
        return np.asarray(self._trained.model.predict(batches, verbose=0))


class _Span(Source):
    """Consecutive records of a source, without their IDs, labels and metadata, which `Subset` would copy."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        super().__init__(Numbered(stop - start))
        self._source: Final = source
        self._start: Final = start
        self.in_memory = source.in_memory

    def _read(self, indices: NDArray[np.int64]) -> Any:
        return self._source._read(indices + self._start)

    def _read_into(self, out: Any, indices: NDArray[np.int64]) -> None:
        self._source._read_into(out, indices + self._start)


def _streamed(rows: _Rows, out: BinaryIO | Any, kind: Format) -> Predictions:
    """Write the rows to a stream as they are predicted, or return them if there is none."""
    tables: list[pl.DataFrame] = []
    samples = abstained = 0
    for start, stop, table in rows.tables(0):
        samples, abstained = stop, abstained + table["decision"].null_count()
        if out is None:
            tables.append(table)
        else:
            out.write(as_bytes(table, kind, header=start == 0))
    return Predictions(samples, abstained, 0, pl.concat(tables) if out is None else None)


def _opened(trained: Trained, data: str | PathLike[str] | Source) -> Source:
    recipe, result = trained.recipe, trained.result
    if isinstance(data, Source):
        return as_in_training(recipe, data, result.fill, result.input_shape)
    return open_other_data(
        recipe,
        fspath(data),
        result.fill,
        channels=result.channels,
        recordings=result.recordings,
        labels=False,
    )


def _batch_size(recipe: Recipe, source: Source) -> int:
    record = np.asarray(source.read([0])).nbytes
    return max(recipe.batch_size, min(_BATCH_ROWS, _BATCH_BYTES // max(record, 1)))


def _identity(recipe: Recipe, data: str | PathLike[str] | Source, source: Source) -> dict[str, Any]:
    """Return what identifies the data of a prediction: their IDs, and their files unless they are in memory."""
    digest = hashlib.sha256()
    for start in range(0, len(source), _MOST_ROWS):
        # No ID contains NUL, so the joined text is unambiguous.
        digest.update("\0".join((*source.ids[start : start + _MOST_ROWS], "")).encode())
    identity: dict[str, Any] = {"ids": digest.hexdigest()}
    if isinstance(data, Source):
        return identity
    where = fspath(data) if is_url(fspath(data)) else str(Path(fspath(data)).absolute())
    settings = recipe.data.model_copy(update={"path": where, "partition": None, "options": {}})
    return {**identity, **identity_of_data(recipe.model_copy(update={"data": settings}))}
