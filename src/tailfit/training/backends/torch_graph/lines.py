"""Run simplified records: each is a line with its function, the places of its arguments, and the place of its result.

Values are in a list, with a place for each number; constants and Python's own arguments are there from the beginning.
"""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import torch

from tailfit.training.backends.torch_graph.tape import Call, Read, Record, Ref, refs_of

__all__ = ["Line", "Lines", "Places", "run_lines"]

_aten = torch.ops.aten
# The same operators, called through bindings that convert their arguments faster.
_FASTER: Final[dict[Any, Any]] = {
    _aten.mm.default: torch.mm,
    _aten.addmm.default: torch.addmm,
    _aten.bmm.default: torch.bmm,
    _aten.t.default: torch.t,
    _aten.add.Tensor: torch.add,
    _aten.sub.Tensor: torch.sub,
    _aten.mul.Tensor: torch.mul,
    _aten.div.Tensor: torch.div,
    _aten.relu.default: torch.relu,
    _aten.sqrt.default: torch.sqrt,
    _aten.exp.default: torch.exp,
    _aten.log.default: torch.log,
    _aten.neg.default: torch.neg,
    _aten.permute.default: torch.permute,
    _aten.eq.Tensor: torch.eq,
    _aten.eq.Scalar: torch.eq,
    _aten.where.self: torch.where,
    _aten.threshold_backward.default: _aten.threshold_backward.default._op,
    _aten.squeeze.dim: torch.squeeze,
    _aten.unsqueeze.default: torch.unsqueeze,
    _aten.argmax.default: torch.argmax,
    _aten.gather.default: torch.gather,
    _aten._foreach_add_.List: torch._foreach_add_,
    _aten._foreach_add.Scalar: torch._foreach_add,
    _aten._foreach_mul_.Scalar: torch._foreach_mul_,
    _aten._foreach_mul.List: torch._foreach_mul,
    _aten._foreach_mul.Tensor: torch._foreach_mul,
    _aten._foreach_div.List: torch._foreach_div,
    _aten._foreach_sqrt.default: torch._foreach_sqrt,
}


class Places:
    """The places of the values of a program.

    Args:
        inputs: Number of inputs, which have the first places.
        constants: The constants, by number.
    """

    def __init__(self, inputs: int, constants: dict[int, Any]) -> None:
        self.inputs = inputs
        self._first: list[Any] = [None] * inputs
        self._places = {number: number for number in range(inputs)}
        self._objects: dict[int, int] = {}
        for number, value in constants.items():
            self._places[number] = self.of_object(value)

    def of(self, number: int) -> int:
        """Return the place of a value."""
        if number not in self._places:
            self._places[number] = len(self._first)
            self._first.append(None)
        return self._places[number]

    def of_object(self, value: Any) -> int:
        """Return the place of an object that is the same in all runs."""
        if id(value) not in self._objects:
            self._objects[id(value)] = len(self._first)
            self._first.append(value)  # kept alive, so that no other object gets its ID
        return self._objects[id(value)]

    @property
    def constants(self) -> list[Any]:
        """The objects that are the same in all runs."""
        return self._first[self.inputs :]

    def values(self, inputs: Sequence[Any]) -> list[Any]:
        """Return all values at the beginning of a run."""
        values = self._first.copy()
        values[: self.inputs] = inputs
        return values


class Line(NamedTuple):
    """A call that each run makes.

    Attributes:
        function: The function.
        given: Returns its arguments.
        named: Returns its keyword arguments; None for a call without them.
        result: The place of its result, or places in the structure of the result; None if nothing needs it.
        gone: Places of the values that are not needed afterwards.
        captures: Whether it is an operator that a CUDA graph can contain, if its tensors are on the GPU.
        writes: Whether it changes a tensor in place.
    """

    function: Callable[..., Any]
    given: Callable[[list[Any]], Any]
    named: Callable[[list[Any]], Any] | None
    result: Any
    gone: list[int]
    captures: bool
    writes: bool

    @property
    def results(self) -> list[int]:
        """The places of the results."""
        return list(_flat(self.result))

    def keep(self, made: Any, values: list[Any]) -> None:
        """Put the result in its place."""
        _store(made, self.result, values)


class Lines:
    """Records that run one after the other.

    Args:
        records: Simplified records; the last one may be a `Read`.
        places: The places of the program.
        kept: Numbers of the values that are needed afterwards, constants included.
    """

    def __init__(self, records: Sequence[Record], places: Places, kept: set[int]) -> None:
        self._read: tuple[int, bool] | None = None
        last = _last_uses(records)
        self.lines: list[Line] = []
        for position, record in enumerate(records):
            if isinstance(record, Read):
                self._read = places.of(record.number), record.truth
            elif isinstance(record, Call):
                gone = [places.of(number) for number in last.get(position, ()) if number not in kept]
                self.lines.append(_line(record, places, gone))

    def run(self, values: list[Any]) -> Any:
        """Run the lines; return the value that the last record reads, or None."""
        run_lines(self.lines, values)
        return self.read(values)

    def read(self, values: list[Any]) -> Any:
        """Return the value that the last record reads, or None."""
        if self._read is None:
            return None
        place, truth = self._read
        value = values[place].item()
        return bool(value) if truth else value


def run_lines(lines: Sequence[Line], values: list[Any]) -> None:
    """Run lines one by one."""
    for function, given, named, result, gone, _, _ in lines:
        made = function(*given(values)) if named is None else function(*given(values), **named(values))
        if result.__class__ is int:
            values[result] = made
        elif result is not None:
            _store(made, result, values)
        for place in gone:
            values[place] = None


def _last_uses(records: Sequence[Record]) -> dict[int, list[int]]:
    """Return the values that calls make, by the position of the record that uses them last."""
    used: dict[int, int] = {}
    made: set[int] = set()
    for position, record in enumerate(records):
        if isinstance(record, Call):
            made.update(record.made)
            used.update((number, position) for number in (*record.made, *refs_of((record.args, record.kwargs))))
        elif isinstance(record, Read):
            used[record.number] = position
    last: dict[int, list[int]] = {}
    for number in made:
        last.setdefault(used[number], []).append(number)
    return last


def _line(call: Call, places: Places, gone: list[int]) -> Line:
    function = _FASTER.get(call.function, getattr(call.function, "_op", call.function))
    named = None
    if call.kwargs:
        getters = {key: _getter(part, places) for key, part in call.kwargs.items()}
        named = lambda values: {key: get(values) for key, get in getters.items()}  # noqa: E731
        if not any(refs_of(list(call.kwargs.values()))):
            kwargs = dict(call.kwargs)
            named = lambda values: kwargs  # noqa: E731
    if not call.made:
        result: Any = None
    elif isinstance(call.result, Ref):
        result = places.of(call.result.number)
    else:
        result = _result(call.result, set(call.made), places)
    tags = call.function.tags if isinstance(call.function, torch._ops.OpOverload) else None
    captures = tags is not None and torch.Tag.nondeterministic_seeded not in tags
    return Line(function, _arguments(call.args, places), named, result, gone, captures, call.repeated)


def _arguments(args: Sequence[Any], places: Places) -> Callable[[list[Any]], Any]:
    """Return a function that returns the arguments."""
    if any(isinstance(part, list | tuple) and any(True for _ in refs_of(part)) for part in args):
        getters = [_getter(part, places) for part in args]
        return lambda values: [get(values) for get in getters]
    found = [places.of(part.number) if isinstance(part, Ref) else places.of_object(part) for part in args]
    if len(found) > 1:
        return itemgetter(*found)
    if found:
        return itemgetter(slice(found[0], found[0] + 1))
    return lambda values: ()


def _getter(part: Any, places: Places) -> Callable[[list[Any]], Any]:
    if isinstance(part, Ref):
        return itemgetter(places.of(part.number))
    if isinstance(part, list | tuple) and part:
        inner, kind = _arguments(part, places), type(part)
        return inner if kind is tuple else lambda values: list(inner(values))
    return itemgetter(places.of_object(part))


def _result(result: Any, made: set[int], places: Places) -> Any:
    if isinstance(result, Ref):
        return places.of(result.number) if result.number in made else None
    if isinstance(result, tuple):
        return tuple(_result(part, made, places) for part in result)
    return None


def _flat(result: Any) -> Iterator[int]:
    if isinstance(result, tuple):
        for part in result:
            yield from _flat(part)
    elif result is not None:
        yield result


def _store(made: Any, result: Any, values: list[Any]) -> None:
    if result.__class__ is int:
        values[result] = made
    elif result is not None:
        for part, place in zip(made, result, strict=True):
            _store(part, place, values)
