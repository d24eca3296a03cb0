"""The record of one run of a step: the calls of torch's operators in their order, on numbered values.

Concepts:
- *value*: a tensor (or number) of the step, identified by a number: an input, a constant, or the result of a call.
- *constant*: a tensor that no call made: weights and other state, or a tensor made of Python numbers. It is kept by
  reference, so that a repeated call reads and writes the same memory as the step.
- *read*: the value of a tensor that Python code took (`if`, `float`); the records after it hold for this value only.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["Call", "Constant", "Masked", "Read", "Record", "Recording", "Ref", "key_of", "refs_of", "same_output"]


@dataclass(frozen=True)
class Ref:
    """The number of a value."""

    number: int


@dataclass
class Constant:
    """A tensor that the step uses and that no call made.

    Attributes:
        fresh: Whether each run makes a new tensor of the same numbers, so that it can be computed with in advance.
    """

    number: int
    tensor: torch.Tensor
    fresh: bool = False

    def agrees(self, other: "Record") -> bool:
        """Return whether another run used the same tensor or an equal one; if it is another object, set `fresh`."""
        if not isinstance(other, Constant) or self.number != other.number:
            return False
        if self.tensor is other.tensor:
            return True
        self.fresh = True
        return _alike(self.tensor, other.tensor)


@dataclass
class Call:
    """A call of an operator, or of a Python function that a run must repeat as a whole.

    Args:
        function: The operator.
        args, kwargs: Its arguments, with a `Ref` for each value.
        result: Its result, in the same way.
        made: Numbers of the values that it makes.
        writes: Numbers of the values that it changes in place.
        viewed: Number of the value whose memory the results share; None if they have their own.
        repeated: Whether it must be called even if nothing needs its result: it changes something, or draws numbers.
        random: Whether it draws from torch's own generators.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    made: tuple[int, ...]
    writes: tuple[int, ...] = ()
    viewed: int | None = None
    repeated: bool = False
    random: bool = False

    def agrees(self, other: "Record") -> bool:
        """Return whether another run made the same call."""
        return (
            isinstance(other, Call)
            and self.function == other.function
            and self.made == other.made
            and _same(self.args, other.args)
            and _same(self.kwargs, other.kwargs)
            and self.result == other.result
        )


@dataclass
class Read:
    """A read of the value of a tensor.

    Args:
        number: The number of the tensor.
        value: What was read.
        truth: Whether it was read as true or false.
    """

    number: int
    value: Any
    truth: bool = False

    @property
    def key(self) -> Any:
        return key_of(self.value)

    def agrees(self, other: "Record") -> bool:
        """Return whether another run read the same tensor, whatever its value."""
        return isinstance(other, Read) and (self.number, self.truth) == (other.number, other.truth)


def key_of(value: Any) -> Any:
    """Return a key for a value that was read: with its type, and one key for all NaNs."""
    return type(value), "nan" if value != value else value


Record = Constant | Call | Read


@dataclass
class Recording:
    """All records of a run; its input tensors are the values 0, 1, ...

    Attributes:
        outputs: What the step returned, with a `Ref` for each tensor.
        refused: Why the run cannot be repeated; None if it can.
        modules: Modules of torch that were called, whose mode the run depends on.
    """

    inputs: int
    records: list[Record] = field(default_factory=list)
    outputs: Any = None
    refused: str | None = None
    modules: list[torch.nn.Module] = field(default_factory=list)


@dataclass
class Masked:
    """An output that has a mask of Keras."""

    value: Any
    mask: Any


def refs_of(part: Any) -> Iterator[int]:
    """Yield the numbers of the values in arguments or results."""
    if isinstance(part, Ref):
        yield part.number
    elif isinstance(part, Masked):
        yield from refs_of((part.value, part.mask))
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from refs_of(inner)
    elif isinstance(part, dict):
        for inner in part.values():
            yield from refs_of(inner)


def same_output(one: Any, other: Any) -> bool:
    """Return whether two outputs have the same values in the same structure."""
    return _same(one, other)


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def _alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    if (one.dtype, one.device, one.shape, one.stride()) != (other.dtype, other.device, other.shape, other.stride()):
        return False
    return torch.equal(one, other) or (
        one.is_floating_point() and torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
    )
