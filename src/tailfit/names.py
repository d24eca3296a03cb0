"""Names of classes, samples and parts of a data set: which are valid, and which are easily confused.

A valid name survives every file format and library unchanged. NumPy strings drop trailing NULs, so `"a"` and `"a\\0"`
would become one class; a lone surrogate can't be encoded as UTF-8, and would fail later, when predictions are written.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from tailfit.errors import DataError
from tailfit.text import three_parts, visible

__all__ = [
    "check_name",
    "check_names",
    "doubts",
    "first_duplicate",
    "invalid_names",
    "lookalikes",
    "looks_missing",
    "quoted",
    "shown",
]

# Spellings of missing values in tables, compared without case. "None" counts only as Python writes it: many data sets
# have a class "none" for samples without a fault.
_MISSING = frozenset({"", "#n/a", "#na", "-nan", "1.#ind", "1.#qnan", "<na>", "?", "n/a", "na", "nan", "nat", "null"})
# Unicode's default ignorable characters that are neither control nor format characters: fillers. Variation selectors
# are recognised by their names.
_INVISIBLE = ("\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0")


def invalid_names(names: Iterable[Any]) -> list[Any]:
    """Return the invalid names, which may be of any type.

    >>> invalid_names(["leak", "leak\\0", None])
    ['leak\\x00', None]
    """
    listed = names if isinstance(names, list | tuple) else list(names)
    try:
        # Check all names at once: checking each costs ten times as much.
        together = "".join(listed)
        together.encode()
        if "\0" not in together:
            return []
    except (TypeError, UnicodeEncodeError):
        pass
    return [name for name in listed if not _is_name(name)]


def check_names(names: Iterable[Any], what: str, fix: str = "rename it") -> None:
    """Check that all names are strings without NUL that can be encoded as UTF-8.

    Args:
        names: Names of classes, samples or parts.
        what: Description of one name in messages.
        fix: Third part of the message.
    Raises:
        DataError: If a name is invalid; the message shows the first such name.

    >>> check_names(["leak", "ok"], "class name")
    >>> check_names(["leak", "leak\\0"], "class name")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received class name 'leak\\x00'. Expected ...
    """
    for name in invalid_names(names):
        check_name(name, what, fix)


def check_name(name: Any, what: str, fix: str = "rename it") -> None:
    """Check one name; see `check_names`."""
    if not _is_name(name):
        raise DataError(
            f"{what} {name!r}", expected="text without NUL characters that can be written as UTF-8", fix=fix
        )


def _is_name(name: Any) -> bool:
    if not isinstance(name, str) or "\0" in name:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_duplicate(names: Sequence[str]) -> str | None:
    """Return the first name that occurred before; None if all differ.

    >>> first_duplicate(["a", "b", "b", "a"])
    'b'
    """
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def lookalikes(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return groups of names that differ only in white space, case, Unicode form or invisible characters.

    >>> lookalikes(["ok", "leak", "ok ", "Leak", "worn"])
    (('ok', 'ok '), ('leak', 'Leak'))
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_folded(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def looks_missing(name: str) -> bool:
    """Return whether a name is a spelling of a missing value in tables.

    >>> looks_missing("NA"), looks_missing(" "), looks_missing("none")
    (True, True, False)
    """
    return name.strip() == "None" or name.strip().casefold() in _MISSING


def quoted(names: Sequence[str]) -> list[str]:
    """Return the names in quotes, which show white space; in ASCII where two names still look the same.

    >>> quoted(["ok", "ok "])
    ["'ok'", "'ok '"]
    >>> quoted(["caf\\u00e9", "cafe\\u0301"])
    ["'caf\\\\xe9'", "'cafe\\\\u0301'"]
    """
    looks = [_seen(name) for name in names]
    times = Counter(looks)
    return [ascii(name) if times[look] > 1 else repr(name) for name, look in zip(names, looks, strict=True)]


def shown(names: Sequence[str]) -> list[str]:
    """Return the class names as printed tables show them: in quotes where a name could be misread.

    A name could be misread if it resembles another name or a missing value, or begins or ends with white space.

    >>> shown(["ok", "ok ", "leak"])
    ["'ok'", "'ok '", 'leak']
    """
    doubtful = {name for group in lookalikes(names) for name in group}
    return [
        in_quotes if name in doubtful or looks_missing(name) or name != name.strip() else visible(name)
        for name, in_quotes in zip(names, quoted(names), strict=True)
    ]


def _folded(name: str) -> str:
    # Normalise again after casefolding, which may leave the normal form.
    return unicodedata.normalize("NFKC", "".join(_seen(name).split()).casefold())


def doubts(names: Sequence[str]) -> tuple[str, ...]:
    """Return a message for each group of similar class names, and for each name that looks like a missing value.

    >>> for message in doubts(["ok", "ok ", "NA"]):
    ...     print(message.partition(". ")[0])
    Received the classes 'ok' and 'ok '
    Received the class 'NA'
    """
    messages = []
    for group in lookalikes(names):
        of_space = len({name.strip() for name in group}) == 1
        messages.append(
            three_parts(
                f"the classes {' and '.join(quoted(group))}",
                expected="names that differ in more than white space, case or similar characters",
                fix="open the data with strip=True (-o strip=true) to strip white space around names"
                if of_space
                else "use one spelling of the name in the labels",
            )
        )
    for name in filter(looks_missing, names):
        messages.append(
            three_parts(
                f"the class {name!r}",
                expected="a class name, but this looks like a missing label",
                fix="label these samples or remove them; rename the class if the name is on purpose",
            )
        )
    return tuple(messages)


def _seen(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKC", name) if c.isspace() or not _is_invisible(c))


@cache
def _is_invisible(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cf")
        or character in _INVISIBLE
        or "VARIATION SELECTOR" in unicodedata.name(character, "")
    )
