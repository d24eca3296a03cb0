"""Copying of files from servers, limited by the announced size or the free disk space."""

import hashlib
import shutil
from pathlib import Path
from typing import IO

from tailfit.errors import DataError, RecordError

__all__ = ["copy_stream"]

_CHUNK_SIZE = 1 << 22  # bytes copied at once
_RESERVE = 1 << 28  # bytes of the disk that a file of unknown size must leave free


def copy_stream(remote: IO[bytes], out: IO[bytes], announced: int | None, folder: Path, shown: str) -> tuple[int, str]:
    """Copy a stream, but hardly more than its announced size; return the number of bytes and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    while (announced is None or size <= announced) and (piece := remote.read(_CHUNK_SIZE)):
        if announced is None:
            _check_unannounced(piece if not size else b"", size, folder, shown)
        digest.update(piece)
        size += out.write(piece)
    return size, digest.hexdigest()


def _check_unannounced(beginning: bytes, size: int, folder: Path, shown: str) -> None:
    """Limit a file of unknown size by the free disk space; refuse a file that the server compressed for transfer."""
    if beginning.startswith(b"\x1f\x8b") and not shown.endswith("gz"):
        raise RecordError(
            f"{shown}: a response with unrequested compression (Content-Encoding: gzip)",
            expected="the bytes of the file itself",
            fix="disable compression on the server, or download the file in a different way",
        )
    free = shutil.disk_usage(folder).free
    if free < _RESERVE:
        raise DataError(
            f"{shown}: a file of unknown size of which {size} bytes arrived, with {free} bytes left in {folder}",
            expected=f"a file that leaves {_RESERVE} bytes free",
            fix="pass a folder on a larger disk as cache=, or check the content of the URL",
        )
