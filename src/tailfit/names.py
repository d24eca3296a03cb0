"""What a class, a sample or a part of a data set may be called, and which names are easily taken for each other.

A name is text that every file and library keeps as it is. NumPy's text drops NULs at the end, so that `"a"` and
`"a\\0"` would become one class; a lone surrogate can't be encoded, and would fail where predictions are written.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from tailfit.errors import DataError
from tailfit.text import three_parts, visible

__all__ = ["check_name", "check_names", "doubts", "first_odd", "lookalikes", "looks_missing", "quoted", "shown"]

# What tables hold in the place of a missing value, in any case. "None" only as Python writes it: "none" is what many
# data sets call the class without a fault.
_MISSING = frozenset({"", "#n/a", "#na", "-nan", "1.#ind", "1.#qnan", "<na>", "?", "n/a", "na", "nan", "nat", "null"})
# Of Unicode's default ignorables, those that are no control or format characters: variation selectors and fillers.
_INVISIBLE = ("\u034f", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u2800", "\u3164", "\uffa0")


def first_odd(names: Iterable[Any]) -> Any:
    """The first that is no name; None if all are.

    >>> first_odd(["leak", "leak\\0"])
    'leak\\x00'
    """
    listed = names if isinstance(names, list | tuple) else list(names)
    try:
        # All at once: a look at each costs ten times as much.
        together = "".join(listed)
        together.encode()
        if "\0" not in together:
            return None
    except (TypeError, UnicodeEncodeError):
        pass
    return next((name for name in listed if not _is_name(name)), None)


def check_names(names: Iterable[Any], what: str, fix: str = "rename it") -> None:
    """Refuse what can't be a name: anything but text, text with NUL, and text that can't be encoded.

    Args:
        names: Of classes, samples or parts.
        what: How messages call one of them.
        fix: What to do about it.
    Raises:
        DataError: naming the first one.

    >>> check_names(["leak", "ok"], "class name")
    >>> check_names(["leak", "leak\\0"], "class name")
    Traceback (most recent call last):
    tailfit.errors.DataError: Received class name 'leak\\x00'. Expected ...
    """
    odd = first_odd(names)
    if odd is not None:
        check_name(odd, what, fix)


def check_name(name: Any, what: str, fix: str = "rename it") -> None:
    """As `check_names`, of one."""
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


def lookalikes(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Groups of names that differ only in white space, case, Unicode form, or characters that can't be seen.

    >>> lookalikes(["ok", "leak", "ok ", "Leak", "worn"])
    (('ok', 'ok '), ('leak', 'Leak'))
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_folded(name), []).append(name)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def looks_missing(name: str) -> bool:
    """Whether a name is what tables write in the place of a missing value.

    >>> looks_missing("NA"), looks_missing(" "), looks_missing("none")
    (True, True, False)
    """
    return name.strip() == "None" or name.strip().casefold() in _MISSING


def quoted(names: Sequence[str]) -> list[str]:
    """The names in quotes, which show white space; as ASCII where even then two look equal.

    >>> quoted(["ok", "ok "])
    ["'ok'", "'ok '"]
    >>> quoted(["caf\\u00e9", "cafe\\u0301"])
    ["'caf\\\\xe9'", "'cafe\\\\u0301'"]
    """
    looks = [_seen(name) for name in names]
    times = Counter(looks)
    return [ascii(name) if times[look] > 1 else repr(name) for name, look in zip(names, looks, strict=True)]


def shown(names: Sequence[str]) -> list[str]:
    """What tables call each class: in quotes where it could be taken for another one, or for none.

    >>> shown(["ok", "ok ", "leak"])
    ["'ok'", "'ok '", 'leak']
    """
    doubtful = {name for group in lookalikes(names) for name in group}
    return [
        in_quotes if name in doubtful or looks_missing(name) or name != name.strip() else visible(name)
        for name, in_quotes in zip(names, quoted(names), strict=True)
    ]


def _folded(name: str) -> str:
    # Casefolding may undo a normal form.
    return unicodedata.normalize("NFKC", "".join(_seen(name).split()).casefold())


def doubts(names: Sequence[str]) -> tuple[str, ...]:
    """A message for each group of class names that look like one class, and for those that look like none.

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
                expected="names that differ in more than white space, case or characters that look alike",
                fix="open the data with strip=True (-o strip=true), which drops the white space around names"
                if of_space
                else "give the samples of one class the same name in the labels",
            )
        )
    for name in filter(looks_missing, names):
        messages.append(
            three_parts(
                f"the class {name!r}",
                expected="names of classes; this looks like a missing label",
                fix="label these samples or leave them out; rename the class if it is meant",
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
