"""The one reader of JSON. Whatever the text holds, it is a value or one kind of error."""

import json
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, Final

from tailfit.errors import DataError, RecordError
from tailfit.storage.reading import read_text

__all__ = ["MOST_JSON", "fields_of", "parsed", "read_json", "read_object"]

MOST_JSON: Final = 1 << 28  # bytes of a file of ours, which takes ten times that in memory


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, with a key twice in one object, nested too deeply, or with a number of too many digits.

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
    """The value in a JSON file of at most `most` bytes.

    Raises:
        RecordError: naming the file: not a regular one, too large, not text, or as `parsed`.
    """
    text = read_text(path, most)
    try:
        return parsed(text)
    except ValueError as error:
        raise RecordError(f"{fspath(path)}: {error}", expected="a JSON file", fix="check the file") from error


def read_object(path: str | PathLike[str], most: int) -> dict[str, Any]:
    """The object in a JSON file of at most `most` bytes, with text as keys, all different.

    Raises:
        RecordError: as `read_json`, and for another value.
    """
    content = read_json(path, most)
    if not isinstance(content, dict):
        raise RecordError(
            f"{fspath(path)}: a JSON {type(content).__name__}", expected="a JSON object", fix="write a dict"
        )
    return content


def fields_of(text: str | bytes, known: Mapping[str, Any], fix: str, *, name: str = "text") -> dict[str, Any]:
    """The object that a text is, which must have the `format` and `version` of `known`.

    Args:
        text: JSON.
        known: The fields `format` and `version` as they must be.
        fix: What the user can do about another text.
        name: What messages call the text: its path.
    Raises:
        DataError: for anything else.

    >>> fields_of('{"format": "x", "version": 1, "value": 2}', {"format": "x", "version": 1}, "pass the text")["value"]
    2
    """
    wanted = f"the JSON of {known['format']}, version {known['version']}"
    try:
        fields = parsed(text)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: not JSON ({error})", expected=wanted, fix=fix) from error
    if not isinstance(fields, dict) or fields.get("format") != known["format"]:
        raise DataError(f"{name}: JSON of something else", expected=wanted, fix=fix)
    if fields.get("version") != known["version"] or isinstance(fields["version"], bool):
        raise DataError(
            f"{name}: version {fields.get('version')!r}",
            expected=wanted,
            fix="read it with the tailfit that wrote it, or a newer one",
        )
    return fields
