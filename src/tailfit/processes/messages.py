"""Messages between processes: JSON objects, one per line. Nothing is pickled."""

import json
import traceback
from collections.abc import Mapping
from typing import Any, TypeAlias

from tailfit import errors
from tailfit.errors import TailfitError, WorkerError
from tailfit.storage import json_text

__all__ = ["Message", "describe_error", "encoded", "error_of", "exit_code", "parsed"]

Message: TypeAlias = dict[str, Any]


def encoded(message: Any) -> bytes:
    """Return a message as one line."""
    return json.dumps(message).encode() + b"\n"


def parsed(line: bytes) -> Message | None:
    """Return the message of a line; None if the line was cut short because its process ended."""
    try:
        message = json_text.parsed(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def describe_error(error: BaseException) -> Message:
    """Describe an error as JSON, from which `error_of` makes the same error.

    >>> error = errors.DataError("3 IDs", expected="4 IDs", fix="add one")
    >>> error_of(describe_error(error), "worker 1")
    DataError('Received 3 IDs. Expected 4 IDs. Fix: add one.')
    """
    name = type(error).__name__
    if isinstance(error, TailfitError):
        return {"class": name, "received": error.received, "expected": error.expected, "fix": error.fix}
    return {"class": name, "text": str(error), "traceback": "".join(traceback.format_exception(error))}


def error_of(described: Mapping[str, Any], where: str, fix: str = "see its traceback") -> TailfitError:
    """Return the error that another process has described.

    Args:
        described: Output of `describe_error`.
        where: Name of that process or its task, for exceptions that are not tailfit's: these become a `WorkerError`
            with the traceback as a note.
        fix: Fix of such a `WorkerError`.
    """
    name = described.get("class", "Exception")
    parts = [described.get(part) for part in ("received", "expected", "fix")]
    if name in errors.__all__ and all(isinstance(part, str) for part in parts):
        kind: type[TailfitError] = getattr(errors, name)
        return kind(str(parts[0]), expected=str(parts[1]), fix=str(parts[2]))
    text = f"{name}: {described.get('text', '')}".rstrip(": ")
    error = WorkerError(f"{where}: {text}", expected="no exception", fix=fix)
    if isinstance(described.get("traceback"), str):
        error.add_note(described["traceback"])
    return error


def exit_code(error: BaseException) -> int:
    """Return the exit code of a program that ends with the error: 2 for invalid input, 1 otherwise.

    >>> exit_code(errors.DataError("3 IDs", expected="4 IDs", fix="add one")), exit_code(OSError())
    (2, 1)
    """
    return 2 if isinstance(error, errors.ArgumentError | errors.DataError) else 1
