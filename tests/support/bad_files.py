"""Malformed files: what the tables of bad data are written with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.bad_arguments import Bad

from tailfit.errors import RecordError

__all__ = ["record", "written"]


def record(received: str, call: Callable[[Path], Any]) -> Bad:
    return Bad(call, RecordError, received)


def written(name: str, content: bytes | str, then: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """What reads a file of this content."""

    def call(folder: Path) -> Any:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return then(path)

    return call
