"""Scores, IDs, groups and metadata of an evaluation as a table, from which every view can be made again.

`evaluation.json` contains the figures, and the class and prediction of each sample. `predictions.parquet`, in the same
folder, contains everything else that is known of the samples. Columns: `id`, `group`, `record` and `start` where known,
`label`, `predicted`, `score NAME` for each class, and `metadata NAME` for each further metadata column.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tailfit.data.tables.reading import read_table
from tailfit.errors import DataError
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.grouping import ids_digest
from tailfit.evaluation.samples import score_matrix
from tailfit.names import invalid_names

__all__ = ["EVALUATION_FILE", "PREDICTIONS_FILE", "as_parquet", "predictions_table", "read_scores", "with_predictions"]

EVALUATION_FILE: Final = "evaluation.json"
PREDICTIONS_FILE: Final = "predictions.parquet"

_PLACES: Final = ("record", "start")
_FIX: Final = "restore both files from one evaluation, or evaluate again"

Figures = TypeVar("Figures", bound=EvaluationFigures)


def predictions_table(evaluation: EvaluationFigures) -> pl.DataFrame:
    """Return one row for each test sample.

    >>> from tailfit import evaluate
    >>> table = predictions_table(evaluate([0, 1], [[0.9, 0.1], [0.6, 0.4]], ["ok", "leak"], ids=["a", "b"]))
    >>> table.columns, table.row(1)
    (['id', 'label', 'predicted', 'score ok', 'score leak'], ('b', 'leak', 'ok', 0.6, 0.4))
    """
    names = np.array(evaluation.class_names, dtype=object)
    columns: dict[str, Any] = {}
    if evaluation.ids is not None:
        columns["id"] = pl.Series(evaluation.ids, dtype=pl.String)
    if evaluation.groups is not None:
        of_groups = np.array(evaluation.groups.names, dtype=object)[evaluation.groups.index]
        columns["group"] = pl.Series(of_groups.tolist(), dtype=pl.String)
    metadata = evaluation.metadata
    if metadata is not None and set(_PLACES) <= set(metadata.columns):
        columns |= {name: metadata[name] for name in _PLACES}
    columns["label"] = pl.Series(names[evaluation.y_true].tolist(), dtype=pl.String)
    columns["predicted"] = pl.Series(names[evaluation.y_pred].tolist(), dtype=pl.String)
    if evaluation.scores is not None:
        columns |= {f"score {name}": evaluation.scores[:, k] for k, name in enumerate(evaluation.class_names)}
    for column in [] if metadata is None else metadata.get_columns():
        if column.name not in ("id", *_PLACES) and not (column.dtype.is_nested() or column.dtype == pl.Object):
            columns[f"metadata {column.name}"] = column
    return pl.DataFrame(columns)


def as_parquet(table: pl.DataFrame) -> bytes:
    """Encode a table as Parquet."""
    table.write_parquet(file := io.BytesIO())
    return file.getvalue()


def read_scores(directory: Path, class_names: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Read the IDs and scores in the table of predictions of a run.

    Args:
        directory: Directory of the run.
        class_names: Names of the C classes.
    Returns:
        The IDs, and the scores, `float64[n, C]`.
    Raises:
        DataError: If the table is damaged, or has other classes.

    >>> import tempfile
    >>> from tailfit import evaluate
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = evaluate([0, 1], [[0.9, 0.1], [0.6, 0.4]], ["ok", "leak"], ids=["a", "b"]).save(folder)
    ...     read_scores(Path(folder), ["ok", "leak"])[0]
    ['a', 'b']
    """
    path = directory / PREDICTIONS_FILE
    table = read_table(path)
    scores = _scores(table, tuple(class_names), str(path))
    if scores is None or "id" not in table.columns or table["id"].dtype != pl.String or table["id"].null_count():
        raise _of_others(str(path), "no scores, or no IDs")
    return table["id"].to_list(), scores.astype(np.float64)


def with_predictions(evaluation: Figures, table: pl.DataFrame, what: str = PREDICTIONS_FILE) -> Figures:
    """Return an evaluation with the scores, IDs and metadata of its table of predictions.

    Args:
        evaluation: Evaluation read from JSON.
        table: What `predictions_table` returned for it.
        what: Name of the table in messages.
    Raises:
        DataError: If the table is not of the same samples.
    """
    names = evaluation.class_names
    for key, codes in (("label", evaluation.y_true), ("predicted", evaluation.y_pred)):
        known = [names[code] for code in codes.tolist()]
        if key not in table.columns or table[key].to_list() != known:
            raise _of_others(what, f"a column {key!r} that differs from the evaluation's")
    ids = tuple(table["id"].to_list()) if "id" in table.columns else None
    if ids is not None and (table["id"].dtype != pl.String or invalid_names(ids)):
        raise _of_others(what, "IDs that are not valid names")
    if evaluation.ids_digest is not None and (ids is None or ids_digest(ids) != evaluation.ids_digest):
        raise _of_others(what, "IDs that differ from the evaluation's")
    return replace(
        evaluation,
        ids=ids,
        scores=_scores(table, names, what),
        metadata=_metadata(table),
    )


def _scores(table: pl.DataFrame, names: tuple[str, ...], what: str) -> Any:
    columns = [f"score {name}" for name in names]
    if not any(column in table.columns for column in columns):
        return None
    sound = all(column in table.columns and table[column].dtype.is_float() for column in columns)
    scores = table.select(columns).to_numpy() if sound else None
    if scores is None or np.isnan(scores).any():
        raise _of_others(what, "columns of scores that are missing, no numbers or NaN")
    return score_matrix(scores, len(names))


def _metadata(table: pl.DataFrame) -> pl.DataFrame | None:
    kept = [pl.col(name) for name in ("id", *_PLACES) if name in table.columns]
    kept += [
        pl.col(name).alias(name.removeprefix("metadata "))
        for name in table.columns
        if name.startswith("metadata ") and name.removeprefix("metadata ") not in ("id", *_PLACES)
    ]
    return table.select(kept) if kept else None


def _of_others(what: str, received: str) -> DataError:
    return DataError(f"{what} with {received}", expected="the table of the same evaluation", fix=_FIX)
