"""Parsing of JSON; for any input the result is a value or one kind of error."""

import json
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, Final

from tailfit.errors import DataError, RecordError
from tailfit.storage.reading import read_text

__all__ = ["MOST_JSON", "fields_of", "parsed", "read_json", "read_object"]

MOST_JSON: Final = 1 << 28  # largest JSON file that is read, in bytes; parsed it takes about ten times that in memory


def parsed(text: str | bytes) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: If the text is not JSON, repeats a key in an object, is nested too deeply, or has a number with too
            many digits.

    >>> parsed('{"a": [1, null]}')
    {'a': [1, None]}
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        again = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {again!r} twice")
    return table


def read_json(path: str | PathLike[str], most: int) -> Any:
    """Read a JSON file of at most `most` bytes.

    Raises:
        RecordError: If the path is not a regular file, or the file is too large, not text or not valid JSON. The
            message begins with the path.
    """
    text = read_text(path, most)
    try:
        return parsed(text)
    except ValueError as error:
        raise RecordError(f"{fspath(path)}: {error}", expected="a JSON file", fix="correct the file") from error


def read_object(path: str | PathLike[str], most: int) -> dict[str, Any]:
    """Read a JSON file of at most `most` bytes that contains an object.

    Raises:
        RecordError: If the file contains a different value; also see `read_json`.
    """
    content = read_json(path, most)
    if not isinstance(content, dict):
        raise RecordError(
            f"{fspath(path)}: a JSON {type(content).__name__}",
            expected="a JSON object",
            fix="write a dict to the file",
        )
    return content


def fields_of(text: str | bytes, known: Mapping[str, Any], fix: str, *, name: str = "text") -> dict[str, Any]:
    """Parse a JSON object of a given format and version.

    Args:
        text: The JSON text.
        known: The required value of the field `format`, and that of `version` or a tuple of several.
        fix: The fix in the error message.
        name: Name of the text in messages, such as its path.
    Raises:
        DataError: If the text is not JSON, or has a different format or version.

    >>> fields_of('{"format": "x", "version": 1, "value": 2}', {"format": "x", "version": 1}, "pass the text")["value"]
    2
    """
    versions = known["version"] if isinstance(known["version"], tuple) else (known["version"],)
    expected = f"the JSON of {known['format']}, version {' or '.join(map(str, versions))}"
    try:
        fields = parsed(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: not JSON ({error})", expected=expected, fix=fix) from error
    if not isinstance(fields, dict) or fields.get("format") != known["format"]:
        raise DataError(f"{name}: JSON of a different format", expected=expected, fix=fix)
    if fields.get("version") not in versions or isinstance(fields["version"], bool):
        raise DataError(
            f"{name}: version {fields.get('version')!r}",
            expected=expected,
            fix="read it with the version of tailfit that wrote it",
        )
    return fields
