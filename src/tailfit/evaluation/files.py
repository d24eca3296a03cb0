"""Files of figures: written whole or not at all, and known by their format when they are read."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tailfit.errors import DataError

__all__ = ["json_fields", "write_parts", "write_text"]


def json_fields(text: str, known: Mapping[str, Any], fix: str) -> dict[str, Any]:
    """The object that a text is, which must have the fields of a known format.

    Raises:
        DataError: for anything else.

    >>> json_fields('{"format": "x", "value": 1}', {"format": "x"}, "pass the whole text")["value"]
    1
    """
    try:
        fields = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"text that is not JSON ({error})", expected=f"the JSON of {known}", fix=fix) from error
    if not isinstance(fields, dict) or {key: fields.get(key) for key in known} != dict(known):
        raise DataError("JSON of something else", expected=f"an object with {known}", fix=fix)
    return fields


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
