"""Tables in memory, and Hugging Face `datasets`, as sources."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.images import Mode
from tailfit.data.sources.columns import Columnar
from tailfit.errors import ArgumentError, DataError
from tailfit.extras import needed

__all__ = ["HuggingFace", "Table"]


class Table(Columnar):
    """The rows of an Arrow or polars table in memory; which columns are the records is as of `Parquet`.

    Args:
        table: `pyarrow.Table`, polars DataFrame, or what else hands out Arrow (`__arrow_c_stream__`).
        label, id, columns, image_size, image_mode, class_names, strip, nan, ragged: As of `Parquet`.
    Shapes: As of `Parquet`.
    Raises:
        ArgumentError: for what is no table.
        DataError: if a column is not there, or IDs or labels are not what they must be.
        PackageError: without pyarrow.

    >>> import polars
    >>> Table(polars.DataFrame({"flow": [0.5, 1.5], "heat": [3, 4]}), columns=["flow"]).read([1]).tolist()
    [[1.5]]
    """

    def __init__(
        self,
        table: Any,
        label: str | None = None,
        id: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        image_mode: Mode = "RGB",
        class_names: Sequence[str] | None = None,
        strip: bool = False,
        nan: str = "raise",
        ragged: bool = False,
    ) -> None:
        pa = needed("pyarrow", "parquet", "a table")
        if not isinstance(table, pa.Table):
            if not hasattr(table, "__arrow_c_stream__"):
                raise ArgumentError(
                    f"a table of type {type(table).__name__}",
                    expected="a pyarrow.Table, a polars DataFrame, or another with __arrow_c_stream__",
                    fix="wrap arrays: tailfit.data.Arrays(x, y)",
                )
            if any("\0" in name for name in getattr(table, "columns", ())):
                # Handed on, a name ends with NUL: polars would end the process.
                raise DataError("a column with NUL in its name", expected="names of text", fix="rename it")
            table = pa.table(table)
        super().__init__(
            table.schema,
            table.num_rows,
            table.select,
            "the table",
            label=label,
            id=id,
            columns=columns,
            image_size=image_size,
            image_mode=image_mode,
            class_names=class_names,
            strip=strip,
            nan=nan,
            ragged=ragged,
        )
        self._arrays: Final = {name: self._column(table, name, _row_of_table) for name in self._features}
        self.in_memory = not self._decoders

    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        return {name: column.take(indices, axis=0) for name, column in self._arrays.items()}


class HuggingFace(Columnar):
    """The rows of a `datasets.Dataset`, read as Arrow whatever format is set.

    Which columns are the records is as of `Parquet`; the names of a `ClassLabel` column are the class names. Its files
    are mapped into memory by `datasets` itself: one that is truncated under a run can end the process.

    Args:
        dataset: One split of a data set; not a streaming one.
        label, id, columns, image_size, image_mode, class_names, strip, nan, ragged: As of `Parquet`.
    Shapes: As of `Parquet`.
    Raises:
        ArgumentError: for what is no `datasets.Dataset`, a dict of splits among them.
        DataError: if a column is not there, or IDs or labels are not what they must be.
        PackageError: without pyarrow, or `datasets` to read what was saved.

    >>> import datasets
    >>> source = HuggingFace(datasets.Dataset.from_dict({"x": [[1.0, 2.0], [3.0, 4.0]], "label": ["ok", "leak"]}))
    >>> source.read([1]).tolist(), source.class_names
    ([[3.0, 4.0]], ('leak', 'ok'))
    """

    def __init__(
        self,
        dataset: Any,
        label: str | None = None,
        id: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        image_size: tuple[int, int] | None = None,
        image_mode: Mode = "RGB",
        class_names: Sequence[str] | None = None,
        strip: bool = False,
        nan: str = "raise",
        ragged: bool = False,
    ) -> None:
        if not all(hasattr(dataset, name) for name in ("with_format", "features", "select_columns", "__len__")):
            raise ArgumentError(
                f"dataset of type {type(dataset).__name__}",
                expected="a datasets.Dataset",
                fix="of a DatasetDict pass a split, dataset['train']; load without streaming=True",
            )
        self._dataset: Final = dataset.with_format("arrow")
        super().__init__(
            dataset.features.arrow_schema,
            len(dataset),
            lambda names: self._dataset.select_columns(names)[:],
            "the data set",
            label=label,
            id=id,
            columns=columns,
            image_size=image_size,
            image_mode=image_mode,
            class_names=class_names,
            strip=strip,
            nan=nan,
            ragged=ragged,
            names_of_codes=lambda name: getattr(dataset.features[name], "names", None),
        )
        self._records: Final = self._dataset.select_columns(self._features)

    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        # datasets reads nothing for no index: a row is read to know the shapes, and left out.
        table = self._records[indices if len(indices) else np.zeros(min(len(self), 1), dtype=np.int64)]
        rows = np.arange(len(indices))

        def row(number: int) -> str:
            return f"the data set: row {indices[number]}"

        # Taken, that is copied: Arrow's memory is read-only.
        return {name: self._column(table, name, row).take(rows, axis=0) for name in self._features}


def _row_of_table(number: int) -> str:
    return f"the table: row {number}"
