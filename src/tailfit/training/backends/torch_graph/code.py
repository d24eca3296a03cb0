"""Compile records to Python: one function for the calls up to a read of a value, or to the end.

Before that the records are simplified, without any change of the numbers: calls whose results nothing needs are left
out, those on constants that each run makes anew are computed once, aliases of a value are the value itself, equal calls
are made once, and a result that is only copied to a weight is written there at once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import torch

from tailfit.training.backends.torch_graph.tape import Call, Constant, Masked, Read, Record, Ref, refs_of

__all__ = ["Simplified", "compiled"]

_aten = torch.ops.aten
_ALIASES = {_aten.detach.default, _aten.alias.default, _aten.lift_fresh.default}
# Operators that change the shape of a value in place, which would change its alias, too.
_RESHAPES = {"resize_", "squeeze_", "unsqueeze_", "t_", "transpose_", "set_", "as_strided_", "swapaxes_", "resize_as_"}
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


class Simplified:
    """What is known of the records of a program, on all of its paths.

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
        """Return the records that a run must still do; nodes are given from the first to the last of their path."""
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


def compiled(
    records: Sequence[Record], constants: dict[int, torch.Tensor], later: set[int], outputs: list[int]
) -> tuple[Callable[[dict[int, Any]], Any], set[int]]:
    """Return a function that does simplified records, and the values that it needs.

    Args:
        records: Calls; the last one may be a `Read`, whose value the function then returns.
        constants: All constants of the program.
        later: Values that later functions of the path need, which are put into the argument.
        outputs: Values that it returns as a list, unless it ends with a `Read`.
    """
    needed = {number for number in later if number not in constants} | {n for n in outputs if n not in constants}
    kept: list[Record] = []
    for record in reversed(records):
        if isinstance(record, Read):
            needed.update({record.number} - constants.keys())
        elif isinstance(record, Call):
            if not record.repeated and not any(number in needed for number in record.made):
                continue
            needed.difference_update(record.made)
            needed.update(n for n in refs_of((record.args, record.kwargs)) if n not in constants)
        kept.append(record)
    kept.reverse()
    return _Writer(constants, _written_at_once(kept, later | set(outputs)), later, outputs).function(needed), needed


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


class _Writer:
    """Writes the source of one function."""

    def __init__(
        self, constants: dict[int, torch.Tensor], records: list[Record], later: set[int], outputs: list[int]
    ) -> None:
        self._names: dict[str, Any] = {}
        self._objects: dict[int, str] = {}
        self._constants, self._records, self._later, self._outputs = constants, records, later, outputs

    def function(self, needed: set[int]) -> Callable[[dict[int, Any]], Any]:
        used = needed | {made for record in self._records if isinstance(record, Call) for made in record.made}
        last = self._last_uses()
        lines = ["def run(values):"]
        lines += [f" v{number} = values[{number}]" for number in sorted(needed)]
        for position, record in enumerate(self._records):
            if isinstance(record, Read):
                lines += self._exports(used)
                value = f"{self._text(Ref(record.number))}.item()"
                lines.append(f" return bool({value})" if record.truth else f" return {value}")
                break
            if isinstance(record, Call):
                lines.append(f" {self._call(record)}")
                gone = last.get(position, [])
                lines += [f" del {', '.join(f'v{number}' for number in gone)}"] if gone else []
        else:
            lines += self._exports(used)
            lines.append(f" return [{', '.join(self._text(Ref(number)) for number in self._outputs)}]")
        scope = dict(self._names)
        exec(compile("\n".join(lines), "<recorded step>", "exec"), scope)  # its lines are written above
        run: Callable[[dict[int, Any]], Any] = scope["run"]
        return run

    def _exports(self, used: set[int]) -> list[str]:
        return [
            f" values[{number}] = v{number}" for number in sorted(self._later & used) if number not in self._constants
        ]

    def _last_uses(self) -> dict[int, list[int]]:
        """Return the values that are last used by the record at each position."""
        kept = self._later | set(self._outputs)
        position_of: dict[int, int] = {}
        for position, record in enumerate(self._records):
            if isinstance(record, Call):
                for number in (*record.made, *refs_of((record.args, record.kwargs))):
                    if number not in self._constants:
                        position_of[number] = position
            elif isinstance(record, Read) and record.number not in self._constants:
                position_of[record.number] = len(self._records)
        last: dict[int, list[int]] = {}
        for number, position in position_of.items():
            if number not in kept:
                last.setdefault(position, []).append(number)
        return last

    def _call(self, call: Call) -> str:
        function = _FASTER.get(call.function, getattr(call.function, "_op", call.function))
        given = [self._text(part) for part in call.args]
        given += [f"{key}={self._text(part)}" for key, part in call.kwargs.items()]
        text = f"{self._object(function)}({', '.join(given)})"
        if not call.made:
            return text
        if isinstance(call.result, Ref):
            return f"v{call.made[0]} = {text}"
        return f"{self._target(call.result, set(call.made))} = {text}"

    def _target(self, result: Any, made: set[int]) -> str:
        if isinstance(result, Ref) and result.number in made:
            return f"v{result.number}"
        if isinstance(result, tuple):
            return f"({', '.join(self._target(part, made) for part in result)},)"
        return "_"

    def _text(self, part: Any) -> str:
        if isinstance(part, Ref):
            if part.number in self._constants:
                return self._object(self._constants[part.number])
            return f"v{part.number}"
        if type(part) is list:
            return f"[{', '.join(map(self._text, part))}]"
        if type(part) is tuple:
            return f"({', '.join(map(self._text, part))}{',' if len(part) == 1 else ''})"
        if part is None or type(part) in (bool, int):
            return repr(part)
        return self._object(part)

    def _object(self, value: Any) -> str:
        if id(value) not in self._objects:
            self._objects[id(value)] = f"k{len(self._names)}"
            self._names[f"k{len(self._names)}"] = value
        return self._objects[id(value)]
