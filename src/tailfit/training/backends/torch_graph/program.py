"""A program: the recordings of a step for inputs of one form, and their repetition.

If Python reads values of tensors (`if`, `ops.cond`), the program is a tree: after each read there is a branch for each
value. A path is trusted after two runs have recorded the same, and a repetition has given the same numbers as the
second of them. Where a repetition meets a value that has no trusted branch, its changes are undone, and the step
runs eagerly and is recorded.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch

from tailfit.keras_private import set_keras_mask
from tailfit.training.backends.torch_graph import cuda_graph
from tailfit.training.backends.torch_graph.lines import Lines, Places
from tailfit.training.backends.torch_graph.recorder import recorded
from tailfit.training.backends.torch_graph.simplify import Simplified, needed_only
from tailfit.training.backends.torch_graph.state import State, same_numbers
from tailfit.training.backends.torch_graph.tape import (
    Call,
    Constant,
    Masked,
    Read,
    Record,
    Recording,
    Ref,
    key_of,
    refs_of,
    same_output,
)

__all__ = ["MISSING", "Program"]

MISSING: Final = object()
_MOST_BRANCHES: Final = 8
_MOST_MISSES: Final = 16

_log = logging.getLogger("tailfit.training")


class _Node:
    """The records up to a read, with a node for each value of it; or up to the end, with the outputs."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.read = records[-1] if records and isinstance(records[-1], Read) else None
        self.branches: dict[Any, _Node] = {}
        self.outputs: Any = None
        self.seen, self.trusted = 0, False
        # Set when it is compiled:
        self.certain = False  # whether the read gives the same value in each run
        self.filled: Any = None  # outputs, with the places of their values
        self.lines: Lines
        self.lines_without_outputs: Lines
        self.captured: cuda_graph.CapturedLines | None = None

    def all(self) -> Iterator["_Node"]:
        """Yield the node and those below it."""
        yield self
        for node in self.branches.values():
            yield from node.all()

    @property
    def uncertain(self) -> bool:
        """Whether a repetition may find no trusted branch."""
        if self.read is None:
            return not self.trusted
        whole = self.certain or (isinstance(self.read.value, bool) and len(self.branches) == 2)
        return not whole or any(node.uncertain for node in self.branches.values())


class Program:
    """All paths of a step for inputs of one form.

    Attributes:
        refused: Why the step cannot be repeated; None if it can.
        ready: Whether a path is trusted.
    """

    def __init__(self) -> None:
        self.refused: str | None = None
        self.ready = self._uncertain = self._random = False
        self._runs = self._misses = 0
        self._root: _Node | None = None
        self._starts: dict[Any, int] = {}
        self._constants: dict[int, torch.Tensor] = {}
        self._places = Places(0, {})
        self._changed: list[int] = []  # values that the step changes
        self._changed_early: list[int] = []  # those that it changes before its last read
        self._unchanged: list[torch.Tensor] = []
        self._weights: list[torch.nn.Parameter] = []
        self._modules: list[torch.nn.Module] = []
        self._flags: list[bool] = []

    def fits(self) -> bool:
        """Return whether weights are trainable and torch's modules in training mode as they were when recorded."""
        return not self.ready or self._flags == self._flags_now()

    def _flags_now(self) -> list[bool]:
        flags = [weight.requires_grad for weight in self._weights]
        return flags + [module.training for module in self._modules] if self._modules else flags

    def run(self, inputs: Sequence[torch.Tensor], *, read: bool = True) -> Any:
        """Return the outputs for inputs; `MISSING`, with everything as before, if there is no trusted path.

        Args:
            inputs: The input tensors.
            read: Whether the outputs are needed; if not, what only they need is left out, and None is returned.
        """
        before = State(self._tensors(self._changed_early, inputs), self._random) if self._uncertain else None
        outputs = self._follow(inputs, trusted=True, read=read)
        self._runs += 1
        if outputs is MISSING and before is not None:
            before.restore()
            self._misses += 1
        return outputs

    def keeps_missing(self) -> bool:
        """Return whether so many runs have found no trusted path that repetition takes longer."""
        return self._misses > _MOST_MISSES and 4 * self._misses > self._runs

    def _follow(self, inputs: Sequence[torch.Tensor], *, trusted: bool, read: bool = True) -> Any:
        node, values = self._root, self._places.values(inputs)
        with torch._C._AutoDispatchBelowAutograd():
            while node is not None:
                result = (node.captured or (node.lines if read else node.lines_without_outputs)).run(values)
                if node.read is None:
                    return _filled(node.filled, values) if read else None
                node = node.branches.get(key_of(result))
                if node is not None and trusted and not node.trusted:
                    node = None
        return MISSING

    def learn(self, step: Callable[[], Any], inputs: Sequence[torch.Tensor]) -> tuple[Any, Recording | None]:
        """Run a step eagerly, and record it.

        Returns:
            Its result, and the recording if it contradicts the earlier ones.
        """
        self._flags = self._flags_now()
        changed = self._tensors(self._changed, inputs)
        compared = self._root is not None and (self._uncertain or not self.ready)
        compared = compared and State.affordable(changed) and State.affordable(self._unchanged)
        before, others = (State(changed, self._random), State(self._unchanged, False)) if compared else (None, None)
        result, recording = recorded(step, inputs, self._starts)
        if others is not None and not others.is_now():
            self.refused = self.refused or "an operator that changes a tensor although it does not declare so"
        path = self._add(recording)
        if path is None:
            return result, recording
        if self.refused is None and path and path[-1].seen > 1 and not path[-1].trusted:
            self._trust(path, before, changed, inputs, result)
        return result, None

    def start(self, recording: Recording) -> None:
        """Add the first recording."""
        self._add(recording)

    # -- recordings -------------------------------------------------------------------------------------

    def _add(self, recording: Recording) -> list[_Node] | None:
        """Return the nodes of the recording; None if it contradicts those before."""
        self.refused = self.refused or recording.refused
        if self.refused is not None:
            return []
        pieces: list[list[Record]] = [[]]
        for record in recording.records:
            pieces[-1].append(record)
            if isinstance(record, Read):
                pieces.append([])
        root = self._root = self._root or _Node(pieces[0])
        path = [root]
        for piece, after in zip(pieces, [*pieces[1:], None], strict=True):
            node = path[-1]
            if not _agree(node.records, piece):
                return None
            if after is not None:
                key = piece[-1].key  # type: ignore[union-attr]
                path.append(node.branches.setdefault(key, _Node(after)))
        leaf = path[-1]
        if leaf.seen and not same_output(leaf.outputs, recording.outputs):
            return None
        leaf.outputs = recording.outputs
        leaf.seen += 1
        if leaf.seen == 1 or not leaf.trusted:
            self._compile(root, recording)
        return path

    def _compile(self, root: _Node, recording: Recording) -> None:
        nodes = list(root.all())
        records = [record for node in nodes for record in node.records]
        simplified = Simplified(records)
        constants = [record for record in records if isinstance(record, Constant)]
        if any(len(node.branches) > _MOST_BRANCHES for node in nodes):
            self.refused = "Python code that depends on the values of tensors"
        elif any(constant.fresh and simplified.written(constant.number) for constant in constants):
            self.refused = "a tensor that each step makes anew and changes"
        else:
            simple = {id(node): simplified.of(node.records) for node in nodes}  # parents come first
            self._places = Places(recording.inputs, simplified.constants)
            self._compile_from(root, simple, simplified, read=False)
            self._compile_from(root, simple, simplified, read=True)
            self._constants = simplified.constants
            self._changed = simplified.changed_by(records)
            kept = [constant for constant in constants if not simplified.written(constant.number)]
            self._unchanged = [constant.tensor for constant in kept if not constant.fresh]
            early = [record for node in nodes if node.read is not None for record in node.records]
            self._changed_early = simplified.changed_by(early)
            self._random = any(isinstance(record, Call) and record.random for record in records)
            weights = {id(constant.tensor): constant.tensor for constant in constants}.values()
            self._weights = [weight for weight in weights if isinstance(weight, torch.nn.Parameter)]
            self._modules = recording.modules
            if len(self._flags) != len(self._weights) + len(self._modules):
                self._flags = self._flags_now()

    def _compile_from(
        self, node: _Node, simple: dict[int, list[Record]], simplified: Simplified, *, read: bool
    ) -> set[int]:
        """Compile a node and those below it, with or without outputs; return the values that they need."""
        later: set[int] = set()
        for branch in node.branches.values():
            later |= self._compile_from(branch, simple, simplified, read=read)
        kept = later | set(refs_of(simplified.named(node.outputs))) if read else later
        records, needed = needed_only(simple[id(node)], simplified.constants, kept)
        lines = Lines(records, self._places, kept)
        if not read:
            node.lines_without_outputs = lines
            return needed
        node.filled = _placed(simplified.named(node.outputs), self._places)
        node.certain = node.read is not None and simplified.computed(node.read.number)
        node.lines, node.captured = lines, None
        return needed

    def _trust(
        self,
        path: list[_Node],
        before: State | None,
        changed: list[torch.Tensor],
        inputs: Sequence[torch.Tensor],
        result: Any,
    ) -> None:
        """Repeat the step that has just run, and trust its path if the numbers are the same."""
        if before is not None:
            after = State(changed, self._random)
            try:
                if not self._repeats(before, after, inputs, result):
                    self.refused = "a step whose repetition gives different numbers"
            except (RuntimeError, TypeError, ValueError) as error:
                self.refused = f"{type(error).__name__}: {error}"
            after.restore()
            if self.refused is None and cuda_graph.enabled():
                self._capture(path, before, after, inputs, result)
                after.restore()
        for node in path if self.refused is None else ():
            node.trusted = self.ready = True
        self._uncertain = path[0].uncertain

    def _repeats(self, before: State, after: State, inputs: Sequence[torch.Tensor], result: Any) -> bool:
        """Repeat a step from its state before; return whether the result and the state are those of the step."""
        before.restore()
        again = self._follow(inputs, trusted=False)
        return again is not MISSING and _same_results(result, again) and after.is_now()

    def _capture(
        self, path: list[_Node], before: State, after: State, inputs: Sequence[torch.Tensor], result: Any
    ) -> None:
        """Capture the lines of a path as CUDA graphs, and use these if they give the same numbers."""
        values = self._places.values(inputs)
        before.restore()
        try:
            with torch._C._AutoDispatchBelowAutograd():
                for node in path:
                    outputs = list(dict.fromkeys(refs_of(node.filled)))
                    node.captured = cuda_graph.captured(node.lines, values, self._places.constants, outputs)
            reason = "" if self._repeats(before, after, inputs, result) else "it gave different numbers"
        except (RuntimeError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            _log.info("the step runs without CUDA graphs: %s", reason)
            for node in path:
                node.captured = None

    def _tensors(self, numbers: Sequence[int], inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        known = [inputs[number] if number < len(inputs) else self._constants.get(number) for number in numbers]
        return [tensor for tensor in known if tensor is not None]


def _agree(records: list[Record], others: list[Record]) -> bool:
    return len(records) == len(others) and all(
        one is other or one.agrees(other) for one, other in zip(records, others, strict=True)
    )


def _placed(part: Any, places: Places) -> Any:
    """Return outputs with the places of their values instead of their numbers."""
    if isinstance(part, Ref):
        return Ref(places.of(part.number))
    if isinstance(part, Masked):
        return Masked(_placed(part.value, places), _placed(part.mask, places))
    if isinstance(part, dict):
        return {key: _placed(inner, places) for key, inner in part.items()}
    if isinstance(part, list | tuple):
        return type(part)(_placed(inner, places) for inner in part)
    return part


def _filled(part: Any, values: list[Any]) -> Any:
    """Return outputs with their values."""
    kind = type(part)
    if kind is Ref:
        return values[part.number]
    if kind is dict:
        return {key: _filled(inner, values) for key, inner in part.items()}
    if kind in (list, tuple):
        return kind([_filled(inner, values) for inner in part])
    if kind is Masked:
        value = _filled(part.value, values)
        set_keras_mask(value, _filled(part.mask, values))
        return value
    return part


def _same_results(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and same_numbers(one, other)
    if isinstance(one, dict):
        return all(_same_results(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return all(map(_same_results, one, other))
    return bool(one == other) or one != one
