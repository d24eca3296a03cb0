"""Set scheduled hyper-parameters to an epoch: by hand in a custom training loop; `tailfit.Model.fit` does it itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from tailfit.errors import ArgumentError
from tailfit.schedules.base import checked_epoch

__all__ = ["followers_of", "has", "parts_of", "set_epoch"]


def set_epoch(epoch: float, *objects: Any) -> None:
    """Set every scheduled hyper-parameter of the given objects to its value at an epoch.

    Args:
        epoch: Epoch, counted from 0; a fraction is a point within the epoch, for updates at every step.
        *objects: Losses, training steps and `Batches`; or lists and dicts of them, in which strings, None and objects
            without a schedule are ignored.
    Raises:
        ArgumentError: If the epoch is out of range, or an object has no hyper-parameters that can be scheduled.

    >>> import tailfit
    >>> loss = tailfit.losses.Focal(gamma=tailfit.schedules.Linear(0.0, 2.0, epochs=4), from_logits=True)
    >>> tailfit.schedules.set_epoch(3, loss)
    >>> float(loss.gamma.variable)
    1.5
    """
    epoch = checked_epoch("epoch", epoch)
    for given in objects:
        if not isinstance(given, Mapping | list | tuple) and not (has(given, "scheduled") or has(given, "set_epoch")):
            raise ArgumentError(
                f"an object of type {type(given).__name__}, which cannot follow a schedule",
                expected="tailfit's losses and steps, Batches, and lists and dicts of them",
                fix="pass the object whose constructor was given the schedule",
            )
    for part in parts_of(objects):
        for follower in followers_of(part):
            follower.set_epoch(epoch)


def followers_of(part: Any) -> Iterator[Any]:
    """Yield the objects with `set_epoch` behind an object: those that its `scheduled()` returns, else itself."""
    if has(part, "scheduled"):
        for inner in parts_of(list(part.scheduled())):
            yield from followers_of(inner)
    elif has(part, "set_epoch"):
        yield part


def parts_of(given: Any) -> Iterator[Any]:
    """Yield the leaves of nested dicts and lists in order, each object once."""
    seen: dict[int, Any] = {}  # holds references: the id of a freed object could be reused
    waiting = [given]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if isinstance(part, Mapping | list | tuple):
            waiting += reversed(list(part.values() if isinstance(part, Mapping) else part))
        else:
            yield part


def has(given: Any, method: str) -> bool:
    """Return whether an instance (not a class) has a method of this name."""
    return not isinstance(given, type) and callable(getattr(given, method, None))
