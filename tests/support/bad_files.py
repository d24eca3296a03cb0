"""Helpers of the tables of invalid data: calls that write a damaged file and read it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.bad_arguments import Bad

from tailfit.errors import RecordError

__all__ = ["record", "written"]


def record(received: str, call: Callable[[Path], Any]) -> Bad:
    return Bad(call, RecordError, received)


def written(name: str, content: bytes | str, then: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a call that writes a file with this content and passes its path to `then`."""

    def call(folder: Path) -> Any:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return then(path)

    return call
