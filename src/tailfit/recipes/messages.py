"""Conversion of pydantic's validation errors into tailfit's: line and key, expected value, fix."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from tailfit.errors import DataError, TailfitError
from tailfit.recipes.choices import KIND_NAMES, TAG_PREFIX, UnknownKeyError, abbreviated
from tailfit.recipes.document import Document, Place

__all__ = ["as_data_error"]

# The expected value by pydantic's error type; {...} is filled in from the error's context.
_EXPECTED: Final = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "none_required": "null",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_short": "a list of {min_length} or more entries",
}


def as_data_error(error: ValidationError, document: Document) -> DataError:
    """Convert a validation error into a `DataError` for the first wrong value, with the number of further ones.

    Args:
        error: Error raised by pydantic.
        document: The validated document, with the line numbers.
    """
    found = [(_place(document, each), each) for each in error.errors(include_url=False)]
    found.sort(key=lambda item: document.lines.get(item[0], 1 << 30))
    place, first = found[0]
    received, expected, fix = _parts(place, first)
    more = len({where for where, _ in found}) - 1
    fix += f" ({more} more {'value is' if more == 1 else 'values are'} wrong)" if more else ""
    return DataError(f"{document.where(place)}: {received}", expected=expected, fix=fix)


def _parts(place: Place, each: Mapping[str, Any]) -> tuple[str, str, str]:
    kind, context = each["type"], each.get("ctx") or {}
    value = abbreviated(each["input"])
    if isinstance(cause := context.get("error"), TailfitError):
        return cause.received, cause.expected, cause.fix
    if kind == "missing":
        return f"no {place[-1]!r}", f"a value for {place[-1]}, which has no default", f"add the key {place[-1]}"
    if kind == "union_tag_invalid":
        tags = [tag.strip("'").removeprefix(TAG_PREFIX) for tag in context["expected_tags"].split(", ")]
        return value, " or ".join(KIND_NAMES.get(tag, tag) for tag in tags), "write a value of one of these kinds"
    expected = _EXPECTED.get(kind, each["msg"])
    expected = expected.format(**context) if context else expected
    if not place:
        return value, expected, "write the keys of a recipe, at least data"
    key = f"entry {place[-1]} of the list" if isinstance(place[-1], int) else place[-1]
    return value, expected, f"write {expected} for {key}"


def _place(document: Document, each: Mapping[str, Any]) -> Place:
    """Return an error's place in the document: pydantic's location without the tags of union members."""
    cause = (each.get("ctx") or {}).get("error")
    location = (*each["loc"], cause.key) if isinstance(cause, UnknownKeyError) else each["loc"]
    value, place = document.value, list[str | int]()
    for part in location:
        if isinstance(part, str) and part.startswith(TAG_PREFIX):
            continue
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif isinstance(value, str):
            value = None  # a plain name, in which the option is missing
        else:
            break
        place.append(part)
    return tuple(place)
