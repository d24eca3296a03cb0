"""`steps_per_execution` on JAX: batches are stacked while they are read, and one program loops over the stack."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np

from tailfit.contexts import assigned
from tailfit.training.backends.jax_held import Picked, PickedStack
from tailfit.training.backends.jax_programs import Groups, Program, SlowInLoopError
from tailfit.training.feed import destination

__all__ = ["Fused"]


class Fused:
    """Runs `steps` batches per call as one program; a batch of another shape (the last one) is run by itself."""

    def __init__(self, program: Program, steps: int) -> None:
        self.program, self.steps = program, steps
        self.seen: set[Any] = set()  # batch shapes that have a program
        self.stacks: dict[Any, _Stack | PickedStack] = {}
        self.latest: Any = None  # batch shape of the stack used last
        self.count = 0  # number of batches in it
        self.out: Any = None
        self.state: Groups = ()  # state after the last program, for the handler of an error during a call

    def __call__(self, state: Groups, iterator: Iterator[Any]) -> tuple[Any, Groups]:
        self.state = state
        with assigned(destination, self._next_row):
            self._run_all(islice(iterator, self.steps))
        # No reference is kept: a value that anything refers to is copied before it is donated.
        state, self.state = self.state, ()
        return self.out, state

    def _run_all(self, batches: Iterator[Any]) -> None:
        self.count = 0
        batch = next(batches)  # its StopIteration ends an epoch of unknown length
        while batch is not None:
            shape, first, self.count = _signature(batch), batch, 1
            stack = self._stacked(shape, first) if shape in self.seen else None
            # Copy each batch while it is in the processor's cache, before the next one is read.
            while (batch := next(batches, None)) is not None and self.program.fusable and _signature(batch) == shape:
                stack = stack or self._stacked(shape, first)
                stack.put(self.count, batch)
                self.count += 1
            self._run(shape, stack, first, self.count)

    def _next_row(self) -> Any:
        """Return the buffer into which a `Batches` reads the next batch, which saves a copy; None if there is none."""
        stack = self.stacks.get(self.latest)
        return None if stack is None else stack.row(self.count)

    def _stacked(self, shape: Any, first: Any) -> "_Stack | PickedStack":
        if shape not in self.stacks:
            self.stacks[shape] = PickedStack(self.steps) if isinstance(first, Picked) else _Stack(first, self.steps)
        self.latest = shape
        self.stacks[shape].put(0, first)
        return self.stacks[shape]

    def _run(self, shape: Any, stack: "_Stack | PickedStack | None", first: Any, count: int) -> None:
        if stack is None:
            self.out, self.state = self.program(self.state, first)
            return
        # JAX returns before it has computed; without this, dozens of programs could queue up. After it, the previous
        # program has finished, and the half of the stack that it read can be overwritten.
        jax.block_until_ready(self.out)  # type: ignore[no-untyped-call]
        try:
            self.out, self.state = self.program.many(self.state, stack.turn(), count)
            self.seen.add(shape)
        except SlowInLoopError:
            self.release()
            for batch in stack.last(count):
                self.out, self.state = self.program(self.state, batch)

    def release(self) -> None:
        """Free the memory in which batches are stacked."""
        self.stacks = {}


class _Stack:
    """Batches of one shape, stacked along a new first axis of `rows`; rows that were not put are not read.

    There are two halves, written in turns, since JAX may read a NumPy array in place as long as a program runs.
    """

    def __init__(self, like: Any, rows: int) -> None:
        leaves, self._tree = jax.tree.flatten(like)
        self._rows = rows
        self._given: list[Any] = [None] * len(leaves)  # arrays of the row that `row` returned last
        # Arrays on the device are collected in lists, and stacked there.
        self._halves: list[list[Any]] = [
            [
                [part] * rows if isinstance(part, jax.Array) else _aligned((rows, *part.shape), part.dtype)
                for part in leaves
            ]
            for _ in range(2)
        ]

    def row(self, row: int) -> Any:
        """Return the arrays of a row, to write a batch into; None if batches are on the device."""
        if row >= self._rows or any(isinstance(part, list) for part in self._halves[0]):
            return None
        self._given = [part[row, ...] for part in self._halves[0]]
        return jax.tree.unflatten(self._tree, self._given)

    def put(self, row: int, batch: Any) -> None:
        given, self._given = self._given, [None] * len(self._given)
        for rows, part, there in zip(self._halves[0], jax.tree.leaves(batch), given, strict=True):
            if part is not there:  # otherwise the batch was read into this row
                rows[row] = part

    def turn(self) -> Any:
        """Return the rows put so far, as a batch of batches, and switch to the other half."""
        self._halves.reverse()
        rows = [jax.numpy.stack(part) if isinstance(part, list) else part for part in self._halves[1]]
        return jax.tree.unflatten(self._tree, rows)

    def last(self, count: int) -> Iterator[Any]:
        """Yield the batches that `turn` returned last."""
        for row in range(count):
            yield jax.tree.unflatten(self._tree, [part[row] for part in self._halves[1]])


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array of zeros at an address divisible by 64: JAX reads it in place on a CPU; others it copies."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + 64, np.uint8)  # rows that no batch fills are narrowed, too, which must not overflow
    start = -memory.ctypes.data % 64
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array


def _signature(batch: Any) -> Any:
    parts, structure = jax.tree.flatten(batch)
    return structure, tuple((part.shape, part.dtype, isinstance(part, jax.Array)) for part in parts)
