"""A recipe's document with some of its keys changed: by `--set` on the command line, or by what a comparison varies."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailfit.errors import ArgumentError
from tailfit.recipes.document import Document, check_nesting, parse

__all__ = ["changed", "settings"]


_MOST_KEYS = 10  # within keys: a recipe has three


def changed(document: Document, changes: Mapping[str, Any]) -> Document:
    """The document with values put in the place of others.

    Args:
        document: A recipe's.
        changes: By key, `"loss"`, or by keys within keys, `"data.normalize"`.
    Raises:
        ArgumentError: for a key within what is no mapping.

    >>> document = parse("loss: CrossEntropy\\ndata: {path: x}")
    >>> changed(document, {"loss": "Focal", "data.normalize": False}).value
    {'loss': 'Focal', 'data': {'path': 'x', 'normalize': False}}
    """
    value = copy.deepcopy(document.value)
    for key, new in changes.items():
        *outer, last = key.split(".")
        if len(outer) > _MOST_KEYS:
            raise ArgumentError(
                f"the key {key[:20]}... of {len(outer) + 1} parts",
                expected=f"at most {_MOST_KEYS} keys within keys",
                fix="name a key of the recipe",
            )
        check_nesting(new, f"{document.name}, {key}")
        inside = value
        for name in outer:
            if isinstance(inside, dict) and isinstance(inside.setdefault(name, {}), str):
                inside[name] = {"name": inside[name]}  # "loss.tau" of "loss: LogitAdjusted"
            inside = inside[name] if isinstance(inside, dict) else None
        if not isinstance(inside, dict):
            raise ArgumentError(
                f"the key {key!r}, part of what is no mapping",
                expected="a key of the recipe, or keys within keys with dots between them",
                fix=f"change {outer[0] if outer else 'the recipe'} as a whole",
            )
        inside[last] = copy.deepcopy(new)
    return replace(document, value=value)


def settings(given: Sequence[str]) -> dict[str, Any]:
    """What `--set KEY=VALUE` says, values as in YAML.

    Raises:
        ArgumentError: for one that is not written so.

    >>> settings(["loss.tau=0.5", "steps=[Mixup]"])
    {'loss.tau': 0.5, 'steps': ['Mixup']}
    """
    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not all(key.split(".")):
            raise ArgumentError(f"--set {each}", expected="KEY=VALUE", fix="write it so, e.g. --set loss.tau=0.5")
        found[key] = parse(value, f"--set {key}").value
    return found
