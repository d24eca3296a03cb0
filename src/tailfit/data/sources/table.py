"""Tables in memory, and Hugging Face `datasets`, as sources."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tailfit.data.files.images import Mode
from tailfit.data.sources.columns import Columnar, TableOptions
from tailfit.errors import ArgumentError, DataError
from tailfit.extras import needed

__all__ = ["HuggingFace", "Table"]


class Table(Columnar):
    """Rows of an Arrow or polars table in memory; see `Parquet` for how columns form the records.

    Args:
        table: `pyarrow.Table`, polars DataFrame, or any object with `__arrow_c_stream__`.
        label, id, columns, image_size, image_mode, class_names, strip, nan, ragged: See `Parquet`.
    Shapes: See `Parquet`.
    Raises:
        ArgumentError: If `table` is not a table.
        DataError: If a column does not exist, or IDs or labels are invalid.
        PackageError: If pyarrow is not installed.

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
                    expected="a pyarrow.Table, a polars DataFrame, or an object with __arrow_c_stream__",
                    fix="pass such a table, or wrap arrays as tailfit.data.Arrays(x, y)",
                )
            if any("\0" in name for name in getattr(table, "columns", ())):
                # Arrow's C interface ends a name at NUL, and polars aborts the process when it exports such a name.
                raise DataError(
                    "a column with a NUL character in its name",
                    expected="column names without control characters",
                    fix="rename the column",
                )
            table = pa.table(table)
        options = TableOptions(
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
        super().__init__(table.schema, table.num_rows, table.select, "the table", options)
        self._arrays: Final = {name: self._column(table, name, _row_of_table) for name in self._record_columns}
        self.in_memory = not self._decoders

    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        return {name: column.take(indices, axis=0) for name, column in self._arrays.items()}


class HuggingFace(Columnar):
    """Rows of a `datasets.Dataset`, read as Arrow regardless of its format.

    See `Parquet` for how columns form the records; the names of a `ClassLabel` column are the class names. `datasets`
    memory-maps its files, so truncating one during a run can kill the process.

    Args:
        dataset: One split of a data set, not streaming.
        label, id, columns, image_size, image_mode, class_names, strip, nan, ragged: See `Parquet`.
    Shapes: See `Parquet`.
    Raises:
        ArgumentError: If `dataset` is not a `datasets.Dataset`, for example a dict of splits.
        DataError: If a column does not exist, or IDs or labels are invalid.
        PackageError: If pyarrow is not installed, or `datasets`, which reads saved data sets.

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
                fix="pass a split of a DatasetDict, dataset['train']; load without streaming=True",
            )
        self._dataset: Final = dataset.with_format("arrow")
        options = TableOptions(
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
        super().__init__(
            dataset.features.arrow_schema,
            len(dataset),
            lambda names: self._dataset.select_columns(names)[:],
            "the data set",
            options,
            label_names=lambda name: getattr(dataset.features[name], "names", None),
        )
        self._records: Final = self._dataset.select_columns(self._record_columns)

    def _columns(self, indices: NDArray[np.int64]) -> Mapping[str, Any]:
        # For no indices, datasets returns no columns; read one row to find the shapes, and drop it.
        table = self._records[indices if len(indices) else np.zeros(min(len(self), 1), dtype=np.int64)]
        rows = np.arange(len(indices))

        def row(number: int) -> str:
            return f"the data set: row {indices[number]}"

        # take() copies, because Arrow's memory is read-only.
        return {name: self._column(table, name, row).take(rows, axis=0) for name in self._record_columns}


def _row_of_table(number: int) -> str:
    return f"the table: row {number}"
