"""Values of JSON as readable YAML."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["as_yaml"]

_WORDS: Final = ("true", "false", "null")  # values of YAML, which are quoted where they are text


def as_yaml(values: Mapping[str, Any]) -> str:
    r"""Return YAML: mappings on several lines, and everything else as in JSON.

    Args:
        values: Values of JSON; NumPy's numbers and arrays are converted.

    >>> as_yaml({"loss": {"Focal": {"gamma": 2.0}}, "epochs": 5})
    'loss:\n  Focal:\n    gamma: 2.0\nepochs: 5\n'
    """
    return "\n".join(line for key, each in values.items() for line in _lines(key, each, "")) + "\n"


def _lines(key: Any, value: Any, indent: str) -> list[str]:
    name = key if isinstance(key, str) and key.isidentifier() and key.lower() not in _WORDS else json.dumps(key)
    if isinstance(value, Mapping) and value:
        return [f"{indent}{name}:", *(line for each in value for line in _lines(each, value[each], f"{indent}  "))]
    return [f"{indent}{name}: {_on_one_line(value)}"]


def _on_one_line(value: Any) -> str:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_on_one_line(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_on_one_line, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):  # JSON's names of these are text in YAML
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return json.dumps(value)
