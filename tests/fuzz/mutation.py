"""Mutations of JSON documents as documents: a change of bytes alone rarely leaves one that can be parsed."""

import copy
import json
import random
from typing import Any

__all__ = ["mutated_json"]

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, float("nan"), float("inf"), 2**31, 2**53 + 1, 2**63, 2**64,
    10**400, "",
    "a", "id", "\0", "a\0", "\ud800", "\u202e", "..", "../x", "/", "0", "-1", "nan", "x" * 300, [], {}, [[]], [{}],
    {"": None}, {"$tuple": [1]}, {"name": 1}, [0, 2**61, 2**61], "<f8", "O", "|V0", "<i4,<f4",
)  # fmt: skip


def mutated_json(content: bytes, seed: int, most: int = 4) -> bytes | None:
    """The document with a few of its values changed, moved, taken out or put in; None for bytes that are no JSON."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    chance = random.Random(seed)
    holder = [document]
    for _ in range(chance.randint(1, most)):
        try:
            _mutate(holder, chance)
        except RecursionError:
            return None
    try:
        return json.dumps(holder[0]).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return None


def _mutate(holder: list[Any], chance: random.Random) -> None:
    places = list(_places(holder))
    parent, key = chance.choice(places)
    match chance.randint(0, 7):
        case 0 | 1:
            parent[key] = copy.deepcopy(chance.choice(_ODD))
        case 2:
            if parent is not holder:
                del parent[key]
        case 3:
            other, there = chance.choice(places)
            parent[key] = copy.deepcopy(other[there])
        case 4:
            if isinstance(parent, list) and parent is not holder:
                parent.insert(key, copy.deepcopy(parent[key]))
            elif isinstance(parent, dict):
                parent[str(chance.choice(_ODD))[:40]] = copy.deepcopy(parent[key])
        case 5:
            parent[key] = _near(parent[key], chance)
        case 6:
            parent[key] = chance.choice([[parent[key]], {str(key): parent[key]}])
        case 7:
            for _ in range(chance.choice([3, 40, 2000])):  # deep, where it is copied often
                parent[key] = [parent[key]]


def _near(value: Any, chance: random.Random) -> Any:
    if isinstance(value, bool | None):
        return not value
    if isinstance(value, int | float):
        return chance.choice([-value, value + 1, value - 1, value * 2, float(value) if abs(value) < 2**53 else 0])
    if isinstance(value, str):
        place = chance.randint(0, len(value))
        return value[:place] + chance.choice(["", "\0", "é", " ", "\ud83d", "/", "0", "$", ".npy"]) + value[place + 1 :]
    if isinstance(value, list):
        return chance.sample(value, len(value)) + value[: chance.randint(0, len(value))]
    return {key: value[key] for key in chance.sample(sorted(value), len(value))}


def _places(holder: list[Any]) -> Any:
    """Every place of a value: the list or dict that holds it, and its index or key."""
    waiting: list[Any] = [holder]
    while waiting:
        parent = waiting.pop()
        for key in list(parent) if isinstance(parent, dict) else range(len(parent)):
            yield parent, key
            if isinstance(parent[key], list | dict):
                waiting.append(parent[key])
