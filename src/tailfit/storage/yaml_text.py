"""Values of JSON as readable YAML."""

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["as_yaml"]


def as_yaml(values: Mapping[str, Any]) -> str:
    r"""Return YAML: mappings on several lines, and everything else as JSON, which is YAML.

    Args:
        values: Values of JSON; NumPy's numbers and arrays are converted.

    >>> as_yaml({"loss": {"Focal": {"gamma": 2.0}}, "epochs": 5})
    'loss:\n  Focal:\n    gamma: 2.0\nepochs: 5\n'
    """
    return "\n".join(line for key, each in values.items() for line in _lines(key, each, "")) + "\n"


def _lines(key: str, value: Any, indent: str) -> list[str]:
    name = key if isinstance(key, str) and key.isidentifier() else json.dumps(key)
    if isinstance(value, Mapping) and value:
        return [f"{indent}{name}:", *(line for each in value for line in _lines(each, value[each], f"{indent}  "))]
    return [f"{indent}{name}: {json.dumps(value, default=_as_list)}"]


def _as_list(value: Any) -> Any:
    return value.tolist()
