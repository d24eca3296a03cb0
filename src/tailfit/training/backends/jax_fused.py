"""`steps_per_execution` on JAX: batches are stacked while they are read, and a program runs over the stack."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np

from tailfit.training.backends.jax_programs import Groups, Program, SlowInLoopError
from tailfit.training.feed import destination

__all__ = ["Fused"]


class Fused:
    """`steps` batches a call as one program; batches of another shape (the last one) apart."""

    def __init__(self, program: Program, steps: int) -> None:
        self.program, self.steps = program, steps
        self.seen: set[Any] = set()  # shapes that it has a program for
        self.stacks: dict[Any, _Stack] = {}
        self.latest: Any = None  # the shape of the stack used last
        self.count = 0  # of the batches that are in it
        self.out: Any = None
        self.state: Groups = ()  # after the last program, for whoever catches an error in the midst of a call

    def __call__(self, state: Groups, iterator: Iterator[Any]) -> tuple[Any, Groups]:
        self.state = state
        token = destination.set(self._next_row)
        try:
            self._run_all(islice(iterator, self.steps))
        finally:
            destination.reset(token)
        # Not held any longer: what others hold is copied before a step gives it away.
        state, self.state = self.state, ()
        return self.out, state

    def _run_all(self, batches: Iterator[Any]) -> None:
        self.count = 0
        batch = next(batches)  # its StopIteration is what ends an epoch of unknown length
        while batch is not None:
            shape, first, self.count = _signature(batch), batch, 1
            stack = self._stacked(shape, first) if shape in self.seen else None
            # A batch is copied while it is in the processor's cache, before the next one is read.
            while (batch := next(batches, None)) is not None and self.program.fusable and _signature(batch) == shape:
                stack = stack or self._stacked(shape, first)
                stack.put(self.count, batch)
                self.count += 1
            self._run(shape, stack, first, self.count)

    def _next_row(self) -> Any:
        """Where a `Batches` puts the next batch, so that it is copied once."""
        stack = self.stacks.get(self.latest)
        return None if stack is None else stack.row(self.count)

    def _stacked(self, shape: Any, first: Any) -> "_Stack":
        if shape not in self.stacks:
            self.stacks[shape] = _Stack(first, self.steps)
        self.latest = shape
        self.stacks[shape].put(0, first)
        return self.stacks[shape]

    def _run(self, shape: Any, stack: "_Stack | None", first: Any, count: int) -> None:
        if stack is None:
            self.out, self.state = self.program(self.state, first)
            return
        # JAX returns before it has computed: without a bound dozens of programs would wait. From here on the other half
        # of the stack, which the program before this one reads, is free.
        jax.block_until_ready(self.out)  # type: ignore[no-untyped-call]
        try:
            self.out, self.state = self.program.many(self.state, stack.turn(), count)
            self.seen.add(shape)
        except SlowInLoopError:
            self.release()
            for batch in stack.last(count):
                self.out, self.state = self.program(self.state, batch)

    def release(self) -> None:
        """Give the memory back that batches are stacked in."""
        self.stacks = {}


class _Stack:
    """Batches of one shape along a new first axis of `rows`; what is beyond those put there is never read.

    There are two halves, written in turns: JAX may read a NumPy array where it is for as long as a program runs.
    """

    def __init__(self, like: Any, rows: int) -> None:
        leaves, self._tree = jax.tree.flatten(like)
        self._rows = rows
        self._given: list[Any] = [None] * len(leaves)  # the row that was asked for last
        # Arrays on the device are stacked there.
        self._halves: list[list[Any]] = [
            [
                [part] * rows if isinstance(part, jax.Array) else _aligned((rows, *part.shape), part.dtype)
                for part in leaves
            ]
            for _ in range(2)
        ]

    def row(self, row: int) -> Any:
        """The arrays of a row, to be written; None where batches are on the device."""
        if row >= self._rows or any(isinstance(part, list) for part in self._halves[0]):
            return None
        self._given = [part[row, ...] for part in self._halves[0]]
        return jax.tree.unflatten(self._tree, self._given)

    def put(self, row: int, batch: Any) -> None:
        given, self._given = self._given, [None] * len(self._given)
        for rows, part, there in zip(self._halves[0], jax.tree.leaves(batch), given, strict=True):
            if part is not there:  # else it was read into this row
                rows[row] = part

    def turn(self) -> Any:
        """What was put in, as a batch of batches; from now on the other half is written."""
        self._halves.reverse()
        rows = [jax.numpy.stack(part) if isinstance(part, list) else part for part in self._halves[1]]
        return jax.tree.unflatten(self._tree, rows)

    def last(self, count: int) -> Iterator[Any]:
        """The batches that `turn` returned last."""
        for row in range(count):
            yield jax.tree.unflatten(self._tree, [part[row] for part in self._halves[1]])


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An uninitialised array that JAX on a CPU reads where it is: from an address that 64 does not divide it copies."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    array: np.ndarray = memory[start : start + size].view(dtype).reshape(shape)
    return array


def _signature(batch: Any) -> Any:
    parts, structure = jax.tree.flatten(batch)
    return structure, tuple((part.shape, part.dtype, isinstance(part, jax.Array)) for part in parts)
