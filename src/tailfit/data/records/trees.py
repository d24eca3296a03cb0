"""Nested records: an array, or a dict, tuple or list of nested records. Everything else is a leaf."""

from collections.abc import Callable, Iterator
from typing import Any

from tailfit.errors import ArgumentError

__all__ = ["leaves", "map_tree", "pairs"]


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `function` to each leaf of a nest.

    >>> map_tree(lambda leaf: leaf + 1, {"a": 1, "b": (2, [3])})
    {'a': 2, 'b': (3, [4])}
    """
    if isinstance(tree, dict):
        return {key: map_tree(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tree(function, value) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tree(function, value) for value in tree)
    return function(tree)


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf with its path, for example `("['sensor'][0]", array)`.

    >>> list(leaves({"a": 1, "b": (2, [3])}))
    [("['a']", 1), ("['b'][0]", 2), ("['b'][1][0]", 3)]
    """
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{path}[{key!r}]")
    elif isinstance(tree, list | tuple):
        for position, value in enumerate(tree):
            yield from leaves(value, f"{path}[{position}]")
    else:
        yield path, tree


def pairs(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the leaves of two nests with the same path; the order of dict keys, which some libraries sort, may differ.

    Raises:
        ArgumentError: If the nests have different structures.

    >>> list(pairs({"z": 1, "a": 2}, {"a": 3, "z": 4}))
    [(2, 3), (1, 4)]
    """
    first, second = dict(leaves(one)), dict(leaves(other))
    if first.keys() != second.keys():
        raise ArgumentError(
            f"arrays with the paths {sorted(first)} for records with the paths {sorted(second)}",
            expected="two nests with the same structure",
            fix="pass arrays as `read` returns them",
        )
    for path, leaf in second.items():
        yield first[path], leaf
