"""Parsing of a recipe's YAML into plain values with line numbers.

ruamel.yaml parses the text into a tree of nodes; this module converts the nodes to values. The result therefore
contains only text, numbers, booleans, null, lists and mappings, whatever tags the file has; the expansion of aliases is
bounded; and the line of each value is known, for messages.
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

Place: TypeAlias = tuple[str | int, ...]  # the keys and list indices that lead to a value

_MAX_BYTES: Final = 1 << 18
_MAX_VALUES: Final = 10_000  # with aliases followed
_MAX_DEPTH: Final = 30
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """The parsed text of a recipe.

    Attributes:
        value: Text, number, bool, None, list, or dict whose keys are text or whole numbers.
        name: Name of the text in messages, usually its path.
        folder: Folder of the file; None for a text that does not come from a file.
        lines: Line number of each place, from 1.

    >>> document = parse("loss: LogitAdjusted\\nsteps:\\n  - Mixup\\n")
    >>> document.value, document.where(("steps", 0))
    ({'loss': 'LogitAdjusted', 'steps': ['Mixup']}, 'recipe, line 3, steps[0]')
    """

    value: Any
    name: str = "recipe"
    folder: Path | None = None
    lines: Mapping[Place, int] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """Describe a place for a message: the text's name, the line of the nearest existing value, and the keys."""
        nearest = next((place[:end] for end in range(len(place), -1, -1) if place[:end] in self.lines), None)
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
        parts = [self.name, "" if nearest is None else f"line {self.lines[nearest]}", path]
        return ", ".join(part for part in parts if part)


def read(path: str | PathLike[str]) -> Document:
    """Read and parse a recipe file.

    Raises:
        DataError: If the file can't be read, or `parse` rejects its text.
    """
    file = Path(fspath(path))
    return replace(parse(read_whole(file, _MAX_BYTES), str(file)), folder=file.absolute().parent)


def parse(text: str | bytes, name: str = "recipe") -> Document:
    """Parse a YAML text.

    Args:
        text: One YAML 1.2 document of at most 256 KiB. JSON is valid YAML, too.
        name: Name of the text in messages.
    Raises:
        DataError: If the text is not valid YAML, repeats a key, has a tag outside YAML's core schema, or is nested or
            aliased too deeply. The message names the line.
    """
    if len(text) > _MAX_BYTES:
        raise DataError(
            f"{name}: over {_MAX_BYTES} bytes",
            expected=f"a recipe of at most {_MAX_BYTES} bytes",
            fix="move lists of samples into files of their own",
        )
    try:
        text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        node = _Yaml(typ="safe", pure=True).compose(text)
    except UnicodeDecodeError as error:
        raise _parse_error(
            name,
            f"the byte {error.object[error.start]:#x} at position {error.start}, which is not UTF-8",
            fix="save it as UTF-8",
        ) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise _parse_error(name + line, what) from None
    except RecursionError:
        raise _parse_error(name, f"nesting deeper than {_MAX_DEPTH}") from None
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError) as error:
        raise _parse_error(name, f"text that crashes the parser ({type(error).__name__}: {error})") from None
    reader = _Reader(name)
    return Document(None if node is None else reader.value(node, ()), name, lines=reader.lines)


def check_nesting(value: Any, name: str) -> None:
    """Check the depth and number of values that were passed from Python instead of parsed.

    Raises:
        DataError: If a recipe may not be nested so deeply, or not have so many values. The message begins with `name`.

    >>> check_nesting({"data": {"path": "x"}}, "recipe")
    """
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        inside = [list(each.values()) if isinstance(each, Mapping) else each for each in level]
        level = [part for each in inside if isinstance(each, list | tuple) for part in each]
        if len(level) > _MAX_VALUES:
            raise _parse_error(name, f"over {_MAX_VALUES} values")
    if level:
        raise _parse_error(name, f"nesting deeper than {_MAX_DEPTH}")


class _Yaml(YAML):
    """The YAML parser, without its search for plug-ins in the file system."""

    def official_plug_ins(self) -> list[str]:
        return []


class _Reader:
    """Converter of YAML nodes to values; it records the line of each place."""

    def __init__(self, name: str) -> None:
        self.name, self.lines = name, dict[Place, int]()

    def value(self, node: Any, place: Place) -> Any:
        line = node.start_mark.line + 1
        if len(self.lines) >= _MAX_VALUES or len(place) > _MAX_DEPTH:
            # Aliases are counted every time they are expanded: nested aliases could stand for billions of values.
            raise _parse_error(
                f"{self.name}, line {line}", f"over {_MAX_VALUES} values, or nesting deeper than {_MAX_DEPTH}"
            )
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
                raise _parse_error(
                    f"{self.name}, line {line}",
                    f"the key {written!r}",
                    expected="text or a whole number as key",
                    fix="put the key in quotes",
                )
            if key in found:
                first = self.lines[*place, key]
                raise _parse_error(
                    f"{self.name}, line {line}",
                    f"the key {key!r} again, after line {first}",
                    expected="each key once",
                    fix="remove one of the two",
                )
            self.lines[*place, key] = line
            found[key] = self.value(value_node, (*place, key))
        return found

    def _scalar(self, node: Any, line: int) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if not isinstance(node, ScalarNode) or kind not in _SCALARS:
            raise _parse_error(
                f"{self.name}, line {line}",
                f"a value tagged {node.tag!s:.60}",
                expected="text, numbers, true, false, null, lists and mappings",
                fix="remove the tag",
            )
        try:
            return _SCALARS[kind](node.value)
        except ValueError:
            raise _parse_error(f"{self.name}, line {line}", f"{node.value[:40]!r} as {kind}") from None


def _whole(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign, digits = (-1, digits[1:]) if digits[:1] == "-" else (1, digits.removeprefix("+"))
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
    value = sign * int(digits if base == 10 else digits[2:], base)
    if abs(value) >= 1 << 128:  # no option needs larger ones, and Python can't print integers of many digits
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
    # JSON escapes characters above U+FFFF as surrogate pairs: join the pairs, and reject a lone surrogate.
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "str": _text,
    "int": _whole,
    "float": _number,
    "bool": _flag,
    "null": lambda _: None,
    "timestamp": str,  # dates stay text
}


def _parse_error(
    where: str, what: str, *, expected: str = "a recipe in valid YAML", fix: str = "correct the text there"
) -> DataError:
    return DataError(f"{where}: {what}", expected=expected, fix=fix)
