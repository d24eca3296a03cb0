"""Row groups of Parquet files, read one at a time by pyarrow."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from tailfit.data.files.memory import available_memory
from tailfit.data.files.parquet_pages import chunk_sizes
from tailfit.data.files.reading import KnownFile
from tailfit.errors import RecordError
from tailfit.extras import needed
from tailfit.storage.reading import open_regular

__all__ = ["ParquetRows", "open_parquet"]

_WHAT = "a Parquet file"
_FEW_ROWS = 1 << 20  # need no look at the free memory, which takes as long as opening a small file


class ParquetRows:
    """The row groups of a Parquet file. Each read opens and closes the file, so that forks never share an open file.

    Attributes:
        file: The file.
        schema: `pyarrow.Schema` without its metadata.
        sizes: Number of rows of each row group.
    """

    def __init__(self, file: KnownFile, metadata: Any, schema: Any) -> None:
        self.file, self.schema = file, schema
        self._metadata = metadata
        self.sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        if min(self.sizes, default=0) < 0:
            raise ValueError(f"{min(self.sizes)} rows")
        rows = sum(self.sizes)
        if schema.names and rows > _FEW_ROWS and rows > available_memory():
            raise ValueError(f"{metadata.num_rows} rows, more than the free memory in bytes")

    def read(self, group: int, names: Sequence[str]) -> Any:
        """Read some columns of a row group as a `pyarrow.Table`.

        Raises:
            RecordError: If the file has changed, or is damaged. The message begins with its path.
        """
        self.file.check()
        with _opened(self.file, metadata=self._metadata) as opened:
            return self.read_from(opened, group, names)

    def read_from(self, opened: Any, group: int, names: Sequence[str]) -> Any:
        """Read some columns of a row group from the file, which is open already; see `read`."""
        if not self.sizes:
            return self.schema.empty_table().select(names)
        # use_threads=False: the caller may be a reader thread already, and thread pools do not survive a fork.
        table = opened.read_row_group(group, columns=list(names), use_threads=False).select(names)
        # pyarrow does not validate strings when it reads them; invalid UTF-8 would abort polars.
        table.validate(full=True)
        if table.num_rows != self.sizes[group]:
            raise ValueError(f"{table.num_rows} rows instead of {self.sizes[group]} as stated in the footer")
        return table

    @cached_property
    def bytes_by_path(self) -> list[list[tuple[str, int]]]:
        """Path and approximate decoded size of each column chunk, for each row group; the footer is read again."""
        with open_regular(self.file.path) as footer, named_errors(self.file):
            # Not from `metadata.row_group(number).column(...)`: a damaged column chunk would end the process there.
            chunks = chunk_sizes(footer)
            if len(chunks) != len(self.sizes):
                raise ValueError(f"{len(chunks)} row groups in the footer instead of {len(self.sizes)}")
            paths = [self._metadata.schema.column(place).path for place in range(self._metadata.num_columns)]
            # Dictionary encoding makes columns smaller in the file than in memory.
            return [
                [(path, max(size, 8 * values)) for path, (values, size) in zip(paths, group, strict=True)]
                for group in chunks
            ]


@contextmanager
def open_parquet(file: KnownFile) -> Iterator[tuple[ParquetRows, Any]]:
    """Open a Parquet file; yield its `ParquetRows` and the open `pyarrow.parquet.ParquetFile`.

    Raises:
        RecordError: If the file is damaged. The message begins with its path.
    """
    with _opened(file) as opened:
        yield ParquetRows(file, opened.metadata, opened.schema_arrow.remove_metadata()), opened


@contextmanager
def _opened(file: KnownFile, **options: Any) -> Iterator[Any]:
    pa, parquet = needed("pyarrow", "parquet", _WHAT), needed("pyarrow.parquet", "parquet", _WHAT)
    with (
        named_errors(file),
        # Not memory-mapped: truncating a mapped file kills the process. Not by its path, which pyarrow would look up in
        # its file systems for as long as it takes to open a small file.
        pa.OSFile(file.path) as stream,
        parquet.ParquetFile(stream, page_checksum_verification=True, **options) as opened,
    ):
        yield opened


@contextmanager
def named_errors(file: KnownFile) -> Iterator[None]:
    """Convert errors about the content of a file to a `RecordError` that names it."""
    pa = needed("pyarrow", "parquet", _WHAT)
    try:
        yield
    except RecordError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(
            f"{file.path}: {what}", expected="an intact Parquet file", fix="write the file again"
        ) from error
