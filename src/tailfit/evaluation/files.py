"""Writing a file whole or not at all."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["write_parts", "write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write beside the target, then rename over it: a reader, or a crash, never meets half a file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "new" / "a.txt", "whole").read_text()
    'whole'
    """
    return write_parts(path, [text.encode()])


def write_parts(path: str | os.PathLike[str], parts: Iterable[Any]) -> Path:
    """As `write_text`, of bytes or views of memory, one after the other."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A name that nobody can lay a link at, and never an existing file.
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.draft")
    try:
        with draft.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return target
