"""Moving what follows a schedule to an epoch, in a loop of one's own; `tailfit.Model.fit` does it by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

from tailfit.errors import ArgumentError
from tailfit.schedules.base import checked_epoch

__all__ = ["followers_of", "has", "parts_of", "set_epoch"]


def set_epoch(epoch: float, *objects: Any) -> None:
    """Give every hyper-parameter that follows a schedule its value at an epoch.

    Args:
        epoch: From 0; a fraction is a point within the epoch, for schedules that go by the step.
        *objects: Losses, training steps, data sets; or lists and dicts of them, in which strings, None and what
            follows no schedule are left alone.
    Raises:
        ArgumentError: for an epoch out of range, and for an object that can't follow a schedule.

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
                f"an object of type {type(given).__name__} to follow a schedule",
                expected="losses and steps of tailfit, Batches, and lists and dicts of them",
                fix="pass what was given the schedule",
            )
    for part in parts_of(objects):
        for follower in followers_of(part):
            follower.set_epoch(epoch)


def followers_of(part: Any) -> Iterator[Any]:
    """What moves when `part` does: what its `scheduled()` names, else itself where it has `set_epoch`."""
    if has(part, "scheduled"):
        for inner in parts_of(list(part.scheduled())):
            yield from followers_of(inner)
    elif has(part, "set_epoch"):
        yield part


def parts_of(given: Any) -> Iterator[Any]:
    """Everything in nested dicts and lists, in order, each object once."""
    seen: dict[int, Any] = {}  # keeps the objects: an id is of a living one only
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
    """Whether an object, not a class, has a method of this name."""
    return not isinstance(given, type) and callable(getattr(given, method, None))
