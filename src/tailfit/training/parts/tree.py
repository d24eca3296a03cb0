"""The binary tree in which the pieces of a batch are combined."""

from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = ["combined", "largest_nodes"]

T = TypeVar("T")
Node = tuple[int, int]


def largest_nodes(low: int, high: int, parts: int) -> list[Node]:
    """Return the largest nodes of the tree over `parts` pieces within the pieces from `low` to before `high`.

    >>> largest_nodes(0, 4, 8), largest_nodes(2, 4, 6)
    ([(0, 4)], [(2, 3), (3, 4)])
    """

    def within(node: Node) -> list[Node]:
        first, last = node
        if low <= first and last <= high:
            return [node]
        if last <= low or high <= first:
            return []
        left, right = _halves(node)
        return within(left) + within(right)

    return within((0, parts))


def combined(node: Node, known: Mapping[Node, T | None], add: Callable[[Node, T, Node, T], T]) -> T | None:
    """Return the value of a node, combined from the values of known nodes below it; that of an empty one is None.

    >>> combined((0, 3), {(0, 1): "a", (1, 2): None, (2, 3): "c"}, lambda m, left, n, right: f"({left}{right})")
    '(ac)'
    """
    if node in known:
        return known[node]
    one, other = _halves(node)
    left, right = combined(one, known, add), combined(other, known, add)
    if left is None or right is None:
        return right if left is None else left
    return add(one, left, other, right)


def _halves(node: Node) -> tuple[Node, Node]:
    first, last = node
    middle = (first + last) // 2
    return (first, middle), (middle, last)
