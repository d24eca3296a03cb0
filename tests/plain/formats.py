"""File formats for the battery of bad input: how each is written and opened, and which file of it is to be spoilt."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tailfit.data import Parquet, Source


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        write: `write(root, x, y, ids)`, x `[n, ...]`, y names or codes.
        open: `open(root, nan=...)`.
        file: The one to spoil, under root.
        floats: Whether records may be NaN.
        unique: Whether the format itself keeps IDs unique.
    """

    write: Callable[[Path, Any, Any, list[str]], None]
    open: Callable[..., Source]
    file: str
    floats: bool = True
    unique: bool = False


def write_parquet(root: Path, x: Any, y: Any, ids: list[str]) -> None:
    root.mkdir()
    columns = {"id": pl.Series(ids, dtype=pl.String), "label": pl.Series(np.asarray(y)), "x": pl.Series(x)}
    pl.DataFrame(columns).write_parquet(root / "set.parquet", row_group_size=4)


FORMATS = {
    "Parquet": Format(write_parquet, lambda root, **options: Parquet(root, memory=False, **options), "set.parquet"),
}
