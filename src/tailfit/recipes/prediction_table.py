"""The table of predictions: ID, class, decision, confidence and scores; as Parquet, CSV or JSON lines."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import softmax

from tailfit.data import Source
from tailfit.errors import ArgumentError, DataError

__all__ = ["Format", "as_bytes", "format_of", "places_of", "prediction_table"]

Format = Literal["parquet", "csv", "jsonl"]
_SUFFIXES: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def format_of(path: Path | None, given: str | None) -> Format:
    """Return the format of an output: the one given, or that of the file name, or JSON lines for a stream.

    Args:
        path: Path of the file; None for a stream.
        given: Name of a format, or None.
    Raises:
        ArgumentError: If the format is unknown, or a stream can't have it.

    >>> format_of(Path("a.csv"), None), format_of(None, None)
    ('csv', 'jsonl')
    """
    streams = [name for name in get_args(Format) if name != "parquet"]
    found = given if given is not None else "jsonl" if path is None else _SUFFIXES.get(path.suffix.lower())
    if found not in get_args(Format) or (path is None and found == "parquet"):
        raise ArgumentError(
            f"format={given!r}" if given is not None else f"{path}: no format that this name ends with",
            expected=f"one of {', '.join(streams if path is None else get_args(Format))}",
            fix="name the file predictions.parquet, .csv or .jsonl, or pass --format (in Python: format=)",
        )
    return found  # type: ignore[return-value]


def prediction_table(
    ids: Sequence[str],
    scores: NDArray[np.float64],
    class_names: Sequence[str],
    abstain: float = 0.0,
    places: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Return one row for each sample.

    Args:
        ids: IDs of n samples.
        scores: Corrected logits, `[n, C]`.
        class_names: Names of the C classes.
        abstain: Confidence below which the decision is left to a person.
        places: Further columns, see `places_of`.
    Returns:
        The columns `id`, those of `places`, `predicted` (the class with the largest corrected score), `decision` (the
        same, or null), `confidence` (softmax of the corrected scores at that class) and `score NAME` for each class.
    Raises:
        DataError: If a score is NaN.

    >>> prediction_table(["a", "b"], np.array([[2.0, 0.0], [0.1, 0.0]]), ["leak", "ok"], abstain=0.6).rows()[1][:3]
    ('b', 'leak', None)
    """
    missing = np.isnan(scores).any(axis=1)
    if missing.any():
        raise DataError(
            f"ID {ids[int(np.argmax(missing))]!r}, for which the network returns NaN",
            expected="a score for every class",
            fix="check the record for extreme values, and the training for divergence",
        )
    codes = scores.argmax(axis=1)
    confidence = softmax(scores, axis=1)[np.arange(len(codes)), codes]
    predicted = pl.Series("predicted", np.asarray(class_names, dtype=object)[codes].tolist(), dtype=pl.String)
    decision = predicted.to_frame().select(
        pl.when(pl.Series(confidence >= abstain)).then("predicted").alias("decision")
    )["decision"]
    columns: dict[str, Any] = {
        "id": pl.Series(list(ids), dtype=pl.String),
        **({} if places is None else places.to_dict()),
        "predicted": predicted,
        "decision": decision,
        "confidence": pl.Series(confidence, dtype=pl.Float32),
    }
    named = {f"score {name}": pl.Series(scores[:, k], dtype=pl.Float32) for k, name in enumerate(class_names)}
    return pl.DataFrame({**columns, **named})


def places_of(source: Source) -> pl.DataFrame | None:
    """Return the record and first step of each window, the columns `record` and `start`; None for other samples.

    >>> import tailfit
    >>> places_of(tailfit.data.Windows(np.zeros(5), 2, by=["a", "a", "b", "b", "b"])).rows()
    [('a', 0), ('b', 0)]
    """
    table = source.metadata
    known = table is not None and {"record", "start"} <= set(table.columns)
    return table.select("record", "start") if table is not None and known else None


def as_bytes(table: pl.DataFrame, format: Format, *, header: bool = True) -> bytes:
    """Encode a table.

    Args:
        table: The table.
        format: Name of the format.
        header: Whether a CSV begins with the names of the columns.
    """
    file = io.BytesIO()
    if format == "parquet":
        table.write_parquet(file)
    elif format == "csv":
        table.write_csv(file, include_header=header)
    else:
        table.write_ndjson(file)
    return file.getvalue()
