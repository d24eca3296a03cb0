"""Writing what a server sends: never more than it announced or there is room for."""

import hashlib
import shutil
from pathlib import Path
from typing import IO

from tailfit.errors import DataError, RecordError

__all__ = ["received"]

_COPIED = 1 << 22  # bytes at once
_SPARE = 1 << 28  # bytes of the disk left free by a file of unknown size


def received(remote: IO[bytes], out: IO[bytes], announced: int | None, folder: Path, shown: str) -> tuple[int, str]:
    """Copy what a server sends, no more than it announced; how many bytes came, and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    while (announced is None or size <= announced) and (piece := remote.read(_COPIED)):
        if announced is None:
            _check_unannounced(piece if not size else b"", size, folder, shown)
        digest.update(piece)
        size += out.write(piece)
    return size, digest.hexdigest()


def _check_unannounced(beginning: bytes, size: int, folder: Path, shown: str) -> None:
    """Bound a file of unknown size by the free room; refuse one that a server compressed for the transfer."""
    if beginning.startswith(b"\x1f\x8b") and not shown.endswith("gz"):
        raise RecordError(
            f"{shown}: sent compressed (Content-Encoding: gzip), though that was not asked for",
            expected="the bytes of the file itself",
            fix="switch the compression off on the server, or download the file by other means",
        )
    free = shutil.disk_usage(folder).free
    if free < _SPARE:
        raise DataError(
            f"{shown}: a file of unknown size, {size} bytes of which came; {free} bytes are left in {folder}",
            expected=f"a file that leaves {_SPARE} bytes free",
            fix="pass cache= a folder with more room, or check what the URL gives",
        )
