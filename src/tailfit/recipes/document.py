"""The text of a recipe: YAML to plain values, each with the line it stands on.

The parser is ruamel.yaml's, up to its tree of nodes; the values are made here. So nothing but text, numbers, true,
false, null, lists and mappings ever comes out, whatever tags a file writes; aliases are followed only as far as a
recipe could need; and each value's line is known, for messages.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from tailfit.errors import DataError
from tailfit.labels import class_key
from tailfit.storage.reading import read_whole

__all__ = ["Document", "Place", "check_nesting", "parse", "read"]

Place: TypeAlias = tuple[str | int, ...]  # of a value: the keys and positions that lead to it

_MOST_BYTES: Final = 1 << 18
_MOST_VALUES: Final = 10_000  # with aliases followed
_DEEPEST: Final = 30
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """What a recipe's text says.

    Attributes:
        value: Of text, numbers, bools, None, lists and dicts with keys of text or whole numbers.
        name: How messages call the text: its path.
        folder: Of its file; None of a text without one.
        lines: Line of each place, counted from 1.

    >>> document = parse("loss: LogitAdjusted\\nsteps:\\n  - Mixup\\n")
    >>> document.value, document.where(("steps", 0))
    ({'loss': 'LogitAdjusted', 'steps': ['Mixup']}, 'recipe, line 3, steps[0]')
    """

    value: Any
    name: str = "recipe"
    folder: Path | None = None
    lines: Mapping[Place, int] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """A place for a message: the text's name, the line of the nearest value that is there, and the keys to it."""
        known = next((place[:end] for end in range(len(place), -1, -1) if place[:end] in self.lines), None)
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        parts = [self.name, "" if known is None else f"line {self.lines[known]}", path]
        return ", ".join(part for part in parts if part)


def read(path: str | PathLike[str]) -> Document:
    """A file's document.

    Raises:
        DataError: for a file that can't be read, or is no YAML that `parse` takes.
    """
    file = Path(fspath(path))
    return replace(parse(read_whole(file, _MOST_BYTES), str(file)), folder=file.absolute().parent)


def parse(text: str | bytes, name: str = "recipe") -> Document:
    """The document that a text is.

    Args:
        text: YAML 1.2, of at most 256 KiB; one document. JSON is YAML, too.
        name: How messages call it.
    Raises:
        DataError: naming the line, for what is no YAML; a key twice; a tag that is none of YAML's own; nesting or
            aliases beyond reason.
    """
    if len(text) > _MOST_BYTES:
        raise DataError(f"{name}: over {_MOST_BYTES} bytes", expected="a recipe", fix="put lists of samples elsewhere")
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        node = _Yaml(typ="safe", pure=True).compose(text)
    except UnicodeDecodeError as error:
        raise _broken(name, f"the byte {error.object[error.start]:#x} at {error.start}, which is no UTF-8") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _broken(name + line, what) from None
    except RecursionError:
        raise _broken(name, f"nesting deeper than {_DEEPEST}") from None
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError) as error:
        raise _broken(name, f"what the parser fails at ({type(error).__name__}: {error})") from None
    reader = _Reader(name)
    return Document(None if node is None else reader.value(node, ()), name, lines=reader.lines)


def check_nesting(value: Any, name: str) -> None:
    """Refuse what is nested deeper than a recipe may be; what comes from Python was not parsed.

    Raises:
        DataError: beginning with the name.

    >>> check_nesting({"data": {"path": "x"}}, "recipe")
    """
    level = [value]
    for _ in range(_DEEPEST + 1):
        inside = [list(each.values()) if isinstance(each, Mapping) else each for each in level]
        level = [part for each in inside if isinstance(each, list | tuple) for part in each]
        if len(level) > _MOST_VALUES:
            raise _broken(name, f"over {_MOST_VALUES} values")
    if level:
        raise _broken(name, f"nesting deeper than {_DEEPEST}")


class _Yaml(YAML):
    """The parser, without a look for plug-ins among files."""

    def official_plug_ins(self) -> list[str]:
        return []


class _Reader:
    """Nodes to values, with the lines of both."""

    def __init__(self, name: str) -> None:
        self.name, self.lines = name, dict[Place, int]()

    def value(self, node: Any, place: Place) -> Any:
        line = node.start_mark.line + 1
        if len(self.lines) >= _MOST_VALUES or len(place) > _DEEPEST:
            # An alias of an alias of ... is counted as often as it stands for.
            raise _broken(f"{self.name}, line {line}", f"over {_MOST_VALUES} values, or nesting deeper than {_DEEPEST}")
        self.lines.setdefault(place, line)
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.value(each, (*place, index)) for index, each in enumerate(node.value)]
        return self._scalar(node, line)

    def _mapping(self, node: Any, place: Place) -> dict[str | int, Any]:
        found: dict[str | int, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            written = self._scalar(key_node, line)
            key = class_key(written)
            if key is None:
                raise _broken(
                    f"{self.name}, line {line}", f"the key {written!r}", expected="keys of text or whole numbers"
                )
            if key in found:
                first = self.lines[*place, key]
                raise _broken(
                    f"{self.name}, line {line}", f"the key {key!r} again, after line {first}", expected="each key once"
                )
            self.lines[*place, key] = line
            found[key] = self.value(value_node, (*place, key))
        return found

    def _scalar(self, node: Any, line: int) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if not isinstance(node, ScalarNode) or kind not in _SCALARS:
            raise _broken(
                f"{self.name}, line {line}",
                f"a value tagged {node.tag!s:.60}",
                expected="text, numbers, true, false, null, lists and mappings",
                fix="leave the tag out",
            )
        try:
            return _SCALARS[kind](node.value)
        except ValueError:
            raise _broken(f"{self.name}, line {line}", f"{node.value[:40]!r} as {kind}") from None


def _whole(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign, digits = (-1, digits[1:]) if digits[:1] == "-" else (1, digits.removeprefix("+"))
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    value = sign * int(digits if base == 10 else digits[2:], base)
    if abs(value) >= 1 << 128:  # Python refuses to write some out, and nothing in a recipe is as large
        raise ValueError(text)
    return value


def _number(text: str) -> float:
    digits = text.replace("_", "").lower()
    if found := re.fullmatch(r"([-+]?)\.(inf|nan)", digits):
        return float(found[1] + found[2])
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _text(text: str) -> str:
    # JSON writes a character beyond U+FFFF as the escapes of two halves; half a one is no text.
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _flag,
    "null": lambda _: None,
    "timestamp": str,  # a date is the text that it is
}


def _broken(
    where: str, what: str, *, expected: str = "YAML as a recipe is written in", fix: str = "correct it there"
) -> DataError:
    return DataError(f"{where}: {what}", expected=expected, fix=fix)
