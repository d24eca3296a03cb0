"""Nested records: an array, or a dict, tuple or list of records. Leaves are told apart by nothing else."""

from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["leaves", "map_tree"]


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nest with `function` applied to each leaf.

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
    """Each leaf with its path, e.g. `("['sensor'][0]", array)`.

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
