"""Simplify records without changing the numbers.

Calls whose results nothing needs are left out, those on constants that each run makes anew are computed once, aliases
of a value are the value itself, equal calls are made once, and a sum that is only copied to one of its operands is
written there directly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch

from tailfit.training.backends.torch_graph.tape import Call, Constant, Masked, Read, Record, Ref, refs_of

__all__ = ["Simplified", "needed_only"]

_aten = torch.ops.aten
_ALIASES = {_aten.detach.default, _aten.alias.default, _aten.lift_fresh.default}
# Operators that change the shape of a value in place, which would change its alias, too.
_RESHAPES = {"resize_", "squeeze_", "unsqueeze_", "t_", "transpose_", "set_", "as_strided_", "swapaxes_", "resize_as_"}


class Simplified:
    """Facts about the records of a program that hold on all of its paths.

    Args:
        records: All records.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self.constants: dict[int, torch.Tensor] = {}
        self._same: dict[int, int] = {}
        self._folded: dict[int, Any] = {}
        self._written: set[int] = set()
        base: dict[int, int] = {}
        every = list(records)
        for record in every:
            if isinstance(record, Call):
                if record.viewed is not None:
                    base.update((made, base.get(record.viewed, record.viewed)) for made in record.made)
                self._written.update(base.get(number, number) for number in record.writes)
        self._base = base
        names = {record.function.__name__ for record in every if isinstance(record, Call) and record.writes}
        self._reshaped = any(name.partition(".")[0] in _RESHAPES for name in names)

    def written(self, number: int) -> bool:
        """Return whether a call changes a value, or one that shares its memory."""
        return self._base.get(number, number) in self._written

    def of(self, records: Sequence[Record]) -> list[Record]:
        """Return the records that a run must still execute; parents of a node must be passed before it."""
        kept: list[Record] = []
        done: dict[Any, int] = {}
        versions: dict[int, int] = {}
        for record in records:
            if isinstance(record, Constant):
                self.constants[record.number] = record.tensor
                if record.fresh and not self.written(record.number):
                    self._folded[record.number] = record.tensor
            elif isinstance(record, Read):
                kept.append(Read(self._same.get(record.number, record.number), record.value, record.truth))
            elif not self._alias(record) and not self._fold(record):
                args, kwargs, result = (self._named(part) for part in (record.args, record.kwargs, record.result))
                call = Call(record.function, args, kwargs, result, record.made, repeated=record.repeated)
                if not self._done_before(record, call, done, versions):
                    kept.append(call)
        return kept

    def _done_before(self, record: Call, call: Call, done: dict[Any, int], versions: dict[int, int]) -> bool:
        """Use the result of an equal call with the same operands, if there is one; note what the call changes."""
        for number in record.writes:
            base = self._base.get(number, number)
            versions[base] = versions.get(base, 0) + 1
        if record.repeated or len(record.made) != 1 or not isinstance(record.result, Ref) or self._reshaped:
            return False
        made = record.made[0]
        if self.written(made):
            return False
        operands = tuple(refs_of((call.args, call.kwargs)))
        ages = tuple(versions.get(self._base.get(number, number), 0) for number in operands)
        key = (call.function, repr(call.args), repr(call.kwargs), ages)
        before = done.setdefault(key, made)
        if before == made:
            return False
        self._same[made] = before
        return True

    def changed_by(self, records: Iterable[Record]) -> list[int]:
        """Return the values whose memory the calls among the records change."""
        written = [number for record in records if isinstance(record, Call) for number in record.writes]
        return list(dict.fromkeys(self._base.get(number, number) for number in written))

    def computed(self, number: int) -> bool:
        """Return whether a value is the same in each run."""
        return number in self._folded

    def named(self, output: Any) -> Any:
        """Return outputs, with one number for all aliases of a value."""
        return self._named(output)

    def _alias(self, call: Call) -> bool:
        if call.function not in _ALIASES or self._reshaped or len(call.made) != 1 or call.args[0] == call.result:
            return False
        number = call.args[0].number
        self._same[call.made[0]] = self._same.get(number, number)
        if number in self._folded:
            self._folded[call.made[0]] = self._folded[number]
        return True

    def _fold(self, call: Call) -> bool:
        if call.repeated or any(self.written(number) for number in call.made):
            return False
        if not all(number in self._folded for number in refs_of((call.args, call.kwargs))):
            return False
        if not isinstance(call.result, Ref):
            return False
        self._folded[call.made[0]] = self.constants[call.made[0]] = call.function(
            *_filled(call.args, self._folded), **_filled(call.kwargs, self._folded)
        )
        return True

    def _named(self, part: Any) -> Any:
        if isinstance(part, Ref):
            return Ref(self._same.get(part.number, part.number))
        if isinstance(part, Masked):
            return Masked(self._named(part.value), self._named(part.mask))
        if isinstance(part, list | tuple):
            return type(part)(self._named(inner) for inner in part)
        if isinstance(part, dict):
            return {key: self._named(inner) for key, inner in part.items()}
        return part


def _filled(part: Any, values: dict[int, Any]) -> Any:
    if isinstance(part, Ref):
        return values[part.number]
    if isinstance(part, list | tuple):
        return type(part)(_filled(inner, values) for inner in part)
    if isinstance(part, dict):
        return {key: _filled(inner, values) for key, inner in part.items()}
    return part


def needed_only(records: Sequence[Record], constants: dict[int, Any], later: set[int]) -> tuple[list[Record], set[int]]:
    """Return the records that something needs, and the values that these need.

    Args:
        records: Calls; the last one may be a `Read`.
        constants: All constants of the program, which are always there.
        later: Values that are needed afterwards.
    """
    needed = later - constants.keys()
    kept: list[Record] = []
    for record in reversed(records):
        if isinstance(record, Read):
            needed.update({record.number} - constants.keys())
        elif isinstance(record, Call):
            if not record.repeated and not any(number in needed for number in record.made):
                continue
            needed.difference_update(record.made)
            needed.update(set(refs_of((record.args, record.kwargs))) - constants.keys())
        kept.append(record)
    kept.reverse()
    return _written_at_once(kept, later), needed


def _written_at_once(records: list[Record], used: set[int]) -> list[Record]:
    """Replace the pairs `r = a + b` and `a.copy_(r)` by one call, where nothing else needs `r`."""
    uses = [
        number for record in records if isinstance(record, Call) for number in refs_of((record.args, record.kwargs))
    ]
    uses += [record.number for record in records if isinstance(record, Read)]
    result: list[Record] = []
    for record in records:
        if result and isinstance(record, Call) and record.function is _aten.copy_.default and len(record.args) == 2:
            total = result[-1]
            if (
                isinstance(total, Call)
                and total.function is _aten.add.Tensor
                and record.args == (total.args[0], total.result)
                and total.made[0] not in used
                and uses.count(total.made[0]) == 1
            ):
                result[-1] = replace(total, kwargs={**total.kwargs, "out": total.args[0]}, made=(), repeated=True)
                continue
        result.append(record)
    return result
