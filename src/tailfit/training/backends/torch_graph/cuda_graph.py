"""Repeated steps as CUDA graphs: one call starts all operators of a stretch of lines, without Python between them.

A stretch is a run of lines that compute on the GPU only. Between stretches, lines run one by one: those that draw
random numbers, read a number from a tensor or use one, and those with tensors in the memory of the CPU. A graph reads
and writes fixed memory, so inputs are copied there first, and outputs are copied from there.

`TAILFIT_TORCH_CUDA_GRAPH=1` in the environment turns this on. The first replay of a step is compared with the
repetition line by line; if they differ, or a line cannot be captured, the step goes on line by line.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from tailfit.training.backends.torch_graph.lines import Line, Lines, run_lines

__all__ = ["CapturedLines", "captured", "enabled"]

_DEVICE = "cuda"
_FEWEST: Final = 4  # lines of a stretch for which a graph pays

Replay = Callable[[], None]


def enabled() -> bool:
    """Return whether repeated steps are captured."""
    return os.environ.get("TAILFIT_TORCH_CUDA_GRAPH", "0") == "1"


@dataclass
class _Stretch:
    """Lines that follow one another, and where they read and leave values.

    Attributes:
        lines: The lines.
        on_device: Whether all lines compute on the GPU only, so that they can be captured.
        entering: Places of the values that the lines read and do not make, other than constants.
        copied: The fixed tensor for each entering value that is not in fixed memory already.
        left: The tensors that the lines leave, by place.
        replay: Runs the lines; None if they run one by one.
    """

    lines: list[Line]
    on_device: bool
    entering: list[int] = field(default_factory=list)
    copied: list[tuple[int, torch.Tensor]] = field(default_factory=list)
    left: dict[int, Any] = field(default_factory=dict)
    replay: Replay | None = None


class CapturedLines:
    """Lines of which stretches are graphs; used like `Lines`.

    Args:
        lines: The same lines, to run one by one.
        stretches: The stretches, in order.
        outputs: Places of the values that a run must copy from fixed memory.
    """

    def __init__(self, lines: Lines, stretches: list[_Stretch], outputs: Sequence[int]) -> None:
        self.plain = lines
        self._stretches, self._outputs = stretches, outputs

    def run(self, values: list[Any]) -> Any:
        """Run the lines; see `Lines.run`."""
        for stretch in self._stretches:
            if stretch.replay is None:
                run_lines(stretch.lines, values)
                continue
            for place, tensor in stretch.copied:
                tensor.copy_(values[place])
            stretch.replay()
            for place, made in stretch.left.items():
                values[place] = made
        for place in self._outputs:
            values[place] = values[place].clone()
        return self.plain.read(values)


def captured(lines: Lines, values: list[Any], constants: Sequence[Any], outputs: Sequence[int]) -> CapturedLines:
    """Run lines once, and capture their stretches.

    The caller restores what the lines change; `values` afterwards holds what they leave.

    Args:
        lines: The lines.
        values: All values before the lines run.
        constants: Objects whose memory is the same in each run.
        outputs: Places of the values that the step returns.
    """
    constant = set(map(_memory, _tensors(constants)))
    stretches = _stretches(lines.lines, values, constant)
    fixed: set[int] = set()
    for stretch in stretches:
        if stretch.on_device and len(stretch.lines) >= _FEWEST:
            fixed |= _capture(stretch, values, fixed)
    shared = fixed - constant
    return CapturedLines(
        lines, stretches, [p for p in outputs if any(_memory(one) in shared for one in _tensors(values[p]))]
    )


def _stretches(lines: Sequence[Line], values: list[Any], constant: set[int]) -> list[_Stretch]:
    """Run the lines one by one, and divide them; all values are kept, since Python reuses the IDs of freed ones."""
    stretches: list[_Stretch] = []
    numbers: set[int] = set()  # IDs of the numbers that lines have made
    made: set[int] = set()  # places of what the lines of the stretch have made
    outside: set[int] = set()  # memory that enters the stretch
    gone: set[int] = set()  # places whose values only this function keeps
    for line in lines:
        arguments = line.given(values), line.named(values) if line.named is not None else {}
        given = list(_tensors(arguments))
        if not (stretches and stretches[-1].on_device):
            made, outside = set(), set()
        used = [place for place in _places(given, values) if place not in gone | made]
        entering = [place for place in used if _memory(values[place]) not in constant]
        reached = outside | {_memory(values[place]) for place in entering}
        written = line.writes and any(_memory(one) in reached for one in given)
        numbered = any(id(part) in numbers for part in _leaves(arguments))
        result = line.function(*arguments[0], **arguments[1])
        line.keep(result, values)
        gone.update(line.gone)
        results = list(_tensors(result))
        numbers.update(id(part) for part in _leaves(result) if not isinstance(part, torch.Tensor))
        on_device = line.captures and bool(given) and not numbered and not written
        on_device = on_device and all(one.device.type == _DEVICE for one in (*given, *results))
        if not stretches or stretches[-1].on_device != on_device:
            stretches.append(_Stretch([], on_device))
        stretch = stretches[-1]
        stretch.lines.append(line)
        if on_device:
            made.update(line.results)
            outside = reached
            stretch.entering += [place for place in entering if place not in stretch.entering]
    return stretches


def _capture(stretch: _Stretch, values: list[Any], fixed: set[int]) -> set[int]:
    """Capture a stretch, and return the memory of the tensors that it leaves."""
    stretch.copied = [
        (place, _like(values[place])) for place in stretch.entering if _memory(values[place]) not in fixed
    ]
    first = values.copy()
    for place, tensor in stretch.copied:
        first[place] = tensor
    results = {place for line in stretch.lines for place in line.results}

    def run() -> dict[int, Any]:
        inner = first.copy()
        run_lines(stretch.lines, inner)
        return {place: inner[place] for place in results if inner[place] is not None}

    stretch.left, stretch.replay = _graph_of(run)
    for place, made in stretch.left.items():
        values[place] = made
    return set(map(_memory, _tensors(list(stretch.left.values()))))


def _graph_of(run: Callable[[], dict[int, Any]]) -> tuple[dict[int, Any], Replay]:
    """Capture a function that computes on the GPU; return its result, which each replay writes anew, and the replay."""
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        result = run()
    return result, graph.replay


def _like(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def _memory(tensor: torch.Tensor) -> int:
    number: int = tensor.untyped_storage()._cdata
    return number


def _places(tensors: Sequence[torch.Tensor], values: Sequence[Any]) -> list[int]:
    wanted = {id(one) for one in tensors}
    return [place for place, value in enumerate(values) if id(value) in wanted]


def _tensors(part: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in _leaves(part) if isinstance(leaf, torch.Tensor))


def _leaves(part: Any) -> Iterator[Any]:
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list | tuple):
        for inner in part:
            yield from _leaves(inner)
    else:
        yield part
