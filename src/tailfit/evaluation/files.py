"""Files of figures: written whole or not at all, and known by their format when they are read."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tailfit.errors import DataError

__all__ = ["digest_of", "is_draft", "json_fields", "sweep_drafts", "write_parts", "write_text"]

_DRAFT: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.draft(\.keras)?")


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


def is_draft(name: str, of: Iterable[str]) -> bool:
    """Whether a file is a draft of one of these names, left by a process that was killed.

    >>> is_draft(".run.json.0123456789abcdef.draft", ["run.json"]), is_draft(".run.json.draft", ["run.json"])
    (True, False)
    """
    found = _DRAFT.fullmatch(name)
    return found is not None and found[1] in of


def sweep_drafts(directory: Path, of: Iterable[str]) -> None:
    """Remove drafts of these names; the caller holds the lock under which they are written."""
    names = set(of)
    with os.scandir(directory) as found:
        drafts = [entry.path for entry in found if is_draft(entry.name, names)]
    for draft in drafts:
        os.unlink(draft)


def digest_of(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file, as JSON.

    Raises:
        OSError: where it can't be read.
    """
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": checksum}
