"""Overrides of a recipe's keys: by `--set` on the command line, or by the remedies of a comparison."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tailfit.errors import ArgumentError
from tailfit.recipes.document import Document, check_nesting, parse

__all__ = ["parse_settings", "with_changes"]

_MAX_PARTS = 10  # of a dotted key; the recipe's own keys have at most three


def with_changes(document: Document, changes: Mapping[str, Any]) -> Document:
    """Return a copy of a document with some values replaced.

    Args:
        document: Document of a recipe.
        changes: New values by key, `"loss"`, or by dotted key, `"data.normalize"`.
    Raises:
        ArgumentError: If a dotted key leads into a value that is not a mapping.

    >>> document = parse("loss: CrossEntropy\\ndata: {path: x}")
    >>> with_changes(document, {"loss": "Focal", "data.normalize": False}).value
    {'loss': 'Focal', 'data': {'path': 'x', 'normalize': False}}
    """
    value = copy.deepcopy(document.value)
    for key, new in changes.items():
        *outer, last = key.split(".")
        if len(outer) > _MAX_PARTS:
            raise ArgumentError(
                f"the key {key[:20]}... of {len(outer) + 1} parts",
                expected=f"a dotted key of at most {_MAX_PARTS} parts",
                fix="use a key of the recipe, such as loss.tau",
            )
        check_nesting(new, f"{document.name}, {key}")
        inside = value
        for name in outer:
            if isinstance(inside, dict) and isinstance(inside.setdefault(name, {}), str):
                inside[name] = {"name": inside[name]}  # "loss.tau" when the recipe has "loss: LogitAdjusted"
            inside = inside[name] if isinstance(inside, dict) else None
        if not isinstance(inside, dict):
            raise ArgumentError(
                f"the key {key!r}, which leads into a value that is not a mapping",
                expected="a key of the recipe, or a dotted key such as data.normalize",
                fix=f"set {outer[0]} as a whole" if outer else "pass a recipe that is a mapping",
            )
        inside[last] = copy.deepcopy(new)
    return replace(document, value=value)


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """Parse the values of `--set KEY=VALUE`, with values in YAML.

    Raises:
        ArgumentError: If one is not of the form KEY=VALUE.

    >>> parse_settings(["loss.tau=0.5", "steps=[Mixup]"])
    {'loss.tau': 0.5, 'steps': ['Mixup']}
    """
    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not all(key.split(".")):
            raise ArgumentError(f"--set {each}", expected="KEY=VALUE", fix="write --set loss.tau=0.5, for example")
        found[key] = parse(value, f"--set {key}").value
    return found
