"""Arrow files and streams (Feather version 2), read whole."""

from typing import Any

from tailfit.data.files.memory import available_memory
from tailfit.data.files.reading import KnownFile
from tailfit.errors import RecordError
from tailfit.extras import needed

__all__ = ["read_arrow"]


def read_arrow(file: KnownFile) -> Any:
    """Read the `pyarrow.Table` in an Arrow file or stream (Feather version 2).

    Raises:
        RecordError: If the file is damaged, or larger than memory. The message begins with its path.
    """
    pa, ipc = needed("pyarrow", "parquet", file.path), needed("pyarrow.ipc", "parquet", file.path)
    if file.size > available_memory():
        raise RecordError(
            f"{file.path}: {file.size} bytes", expected="a file that fits into memory", fix="write the table as Parquet"
        )
    try:
        with pa.OSFile(file.path) as opened:  # not memory-mapped, because truncating a mapped file kills the process
            try:
                table = ipc.open_file(opened).read_all()
            except pa.ArrowInvalid:
                opened.seek(0)
                table = ipc.open_stream(opened).read_all()
        table.validate(full=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise RecordError(
            f"{file.path}: {what}", expected="an intact Arrow file", fix="write the file again"
        ) from error
    return table
