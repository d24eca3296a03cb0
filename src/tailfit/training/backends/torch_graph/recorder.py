"""Record an eager step: the calls of torch's operators and their arguments, below autograd.

Two modes of torch intercept everything: the dispatch mode each call of an operator, forward and backward; the function
mode what leaves torch (`numpy()`, `data_ptr()`), after which a run cannot be repeated.
"""

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tailfit.keras_private import get_keras_mask
from tailfit.training.backends.torch_graph.seeds import seeds_recorded
from tailfit.training.backends.torch_graph.tape import Call, Constant, Masked, Read, Recording, Ref
from tailfit.whole_calls import whole_calls_passed_to

__all__ = ["recorded"]

_aten = torch.ops.aten
_READS = {_aten._local_scalar_dense.default, _aten.item.default, _aten.is_nonzero.default}
# Operators that change the arguments at these positions, running statistics, although their schema does not declare it.
_STATISTICS = {
    _aten.native_batch_norm.default: (3, 4),
    _aten.cudnn_batch_norm.default: (3, 4),
    _aten.miopen_batch_norm.default: (3, 4),
    _aten.batch_norm_update_stats.default: (1, 2),
}
_LEAVING_TORCH = {
    torch.Tensor.numpy: "numpy()",
    torch.Tensor.__array__: "a conversion to NumPy",
    torch.Tensor.tolist: "tolist()",
    torch.Tensor.data_ptr: "data_ptr()",
    torch.Tensor.untyped_storage: "untyped_storage()",
    torch.Tensor.__dlpack__: "__dlpack__()",
    torch.Tensor.data.__set__: "an assignment to data",  # type: ignore[attr-defined]
    torch.Tensor.register_hook: "register_hook()",
}

_PLAIN = {type(None), bool, int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format}


class _Effects(NamedTuple):
    """Effects of a call, besides making its results; see `tape.Call`."""

    writes: tuple[int, ...] = ()
    viewed: int | None = None
    repeated: bool = False
    random: bool = False


def recorded(
    step: Callable[[], Any], inputs: Sequence[torch.Tensor], branches: dict[Any, int]
) -> tuple[Any, Recording]:
    """Run a step, and return its result and its recording.

    Args:
        step: The step, without arguments.
        inputs: Tensors that differ in each run.
        branches: Where the numbers of the values begin after reads with these values; new ones are added. So the values
            of a program have different numbers on all its paths.
    """
    recorder = _Recorder(inputs, branches)
    with (
        _called_modules(recorder.recording.modules),
        whole_calls_passed_to(recorder.repeat),
        seeds_recorded,
        _Functions(recorder),
        recorder,
    ):
        result = step()
    recorder.recording.outputs = recorder.as_output(result)
    return result, recorder.recording


@contextmanager
def _called_modules(called: list[torch.nn.Module]) -> Iterator[None]:
    thread = threading.get_ident()

    def note(module: torch.nn.Module, _: Any) -> None:
        if threading.get_ident() == thread and not any(module is known for known in called):
            called.append(module)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield
    finally:
        hook.remove()


class _Functions(TorchFunctionMode):
    """Intercepts what leaves torch, and numbers that torch takes out of tensors itself."""

    def __init__(self, recorder: "_Recorder") -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _LEAVING_TORCH:
            self._recorder.refuse(f"{_LEAVING_TORCH[func]} of a tensor")
        elif isinstance(kwargs.get("alpha"), torch.Tensor):
            # Keras' SGD passes the learning rate in this way: torch would read it, and record its value.
            kwargs = {**kwargs, "alpha": self._recorder.number(kwargs["alpha"])}
        return func(*args, **kwargs)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would wrap each call in a check for torch.compile

    def __init__(self, inputs: Sequence[torch.Tensor], branches: dict[Any, int]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recording = Recording(len(inputs))
        self._branches = branches
        self._path: tuple[Any, ...] = ()
        self._known: dict[int, tuple[Any, int]] = {}
        self._count = 0
        self._alpha: Ref | None = None  # a number that the next call takes as alpha
        self._generator: tuple[torch.Generator, Ref] | None = None  # the latest that was seeded
        for tensor in inputs:
            self._define(tensor)

    def refuse(self, reason: str) -> None:
        """Note why the run cannot be repeated; it goes on."""
        self.recording.refused = self.recording.refused or reason

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.recording.refused is not None:
            return func(*args, **kwargs)
        given, named = self._as_refs(args), self._as_refs(kwargs)
        if self._alpha is not None and "alpha" in named:
            named, self._alpha = {**named, "alpha": self._alpha}, None
        result = func(*args, **kwargs)
        if func in _READS:
            self._read(Read(given[0].number, result, func is _aten.is_nonzero.default))
            return result
        if isinstance(result, bool | int | float):
            self.refuse(f"{func}, whose result is a number")
            return result
        if func is _aten.lift_fresh.default:  # the step may change a tensor that it makes of numbers
            func = _aten.clone.default
            self._known.pop(id(result), None)
        self._append(func, given, named, result, _effects(func, given, named))
        return result

    def _read(self, read: Read) -> None:
        self.recording.records.append(read)
        self._path = (*self._path, self._count, read.key)
        # Numbers of different branches do not overlap: a branch has fewer than a million values.
        self._count = self._branches.setdefault(self._path, (len(self._branches) + 1) * 10**6)

    def repeat(self, function: Callable[..., Any], *args: Any, writes: Sequence[int] = ()) -> Any:
        """Call a Python function that a run must repeat as a whole, and return its result; see `call_whole`."""
        given = self._as_refs(args)
        with _unrecorded():
            result = function(*args)
        written = tuple(given[place].number for place in writes)
        self._append(function, given, {}, result, _Effects(written, repeated=True))
        return result

    def number(self, tensor: torch.Tensor) -> float:
        """Return the number in a tensor as torch reads it; the call that follows takes it as alpha."""
        given = self._as_refs((tensor,))
        with _unrecorded():
            value = tensor.item()
        number = self._new()
        self.recording.records.append(Call(_item, given, {}, Ref(number), (number,)))
        self._alpha = Ref(number)
        return value

    def as_output(self, part: Any) -> Any:
        """Return what a step returned, with a `Ref` for each tensor."""
        if isinstance(part, torch.Tensor):
            mask = get_keras_mask(part)
            value = self._as_refs(part)
            return value if mask is None else Masked(value, self._as_refs(mask))
        if type(part) in (list, tuple):
            return type(part)(self.as_output(inner) for inner in part)
        if type(part) is dict:
            return {key: self.as_output(inner) for key, inner in part.items()}
        if part is not None and not isinstance(part, bool | int | float | str):
            self.refuse(f"a result of type {type(part).__name__}")
        return part

    def _append(self, func: Any, args: Any, kwargs: Any, result: Any, effects: _Effects) -> None:
        before = self._count
        named = self._result(result)
        made = tuple(range(before, self._count))
        self.recording.records.append(Call(func, args, kwargs, named, made, *effects))

    def _result(self, result: Any) -> Any:
        if isinstance(result, torch.Tensor):
            known = self._number_of(result)
            return Ref(self._define(result) if known is None else known)
        if isinstance(result, list | tuple):
            return tuple(self._result(part) for part in result)
        if isinstance(result, torch.Generator):
            reference = Ref(self._new())
            self._generator = result, reference
            return reference
        return result

    def _as_refs(self, part: Any) -> Any:
        kind = type(part)
        if kind in _PLAIN:
            return part
        if kind in (list, tuple):
            return kind([self._as_refs(inner) for inner in part])
        if kind is dict:
            return {key: self._as_refs(inner) for key, inner in part.items()} if part else part
        if isinstance(part, torch.Tensor):
            known = self._number_of(part)
            if known is None:
                if kind not in (torch.Tensor, torch.nn.Parameter):
                    self.refuse(f"a tensor of the class {kind.__name__}")
                known = self._define(part)
                self.recording.records.append(Constant(known, part))
            return Ref(known)
        if kind is torch.Generator:
            # torch passes another object for the same generator.
            seeded = self._generator
            if seeded is not None and seeded[0].initial_seed() == part.initial_seed():
                return seeded[1]
            self.refuse("a torch.Generator")
        elif kind in (torch.SymInt, torch.SymFloat):
            self.refuse("a symbolic number")
        return part

    def _number_of(self, value: Any) -> int | None:
        entry = self._known.get(id(value))
        # The ID of a value that was freed may be reused.
        return entry[1] if entry is not None and entry[0]() is value else None

    def _define(self, value: Any) -> int:
        self._known[id(value)] = (weakref.ref(value), self._new())
        return self._count - 1

    def _new(self) -> int:
        self._count += 1
        return self._count - 1


@contextmanager
def _unrecorded() -> Iterator[None]:
    with torch._C._DisableTorchDispatch(), torch._C.DisableTorchFunction():
        yield


def _item(tensor: torch.Tensor) -> Any:
    return tensor.item()


def _effects(func: Any, args: Any, kwargs: Any) -> _Effects:
    """Return the effects of a call of an operator, by its schema."""
    aliased, random = _schema_of(func)
    writes: list[int] = []
    viewed = None
    for place, name, written in aliased:
        numbers = _numbers(args[place] if place < len(args) else kwargs.get(name))
        if written:
            writes += numbers
        elif numbers:
            viewed = numbers[0]
    own = random and not isinstance(kwargs.get("generator"), Ref)
    return _Effects(tuple(writes), viewed, bool(writes) or random, own)


@cache
def _schema_of(func: Any) -> tuple[list[tuple[int, str, bool]], bool]:
    """Return the arguments of an operator whose memory it writes or returns, and whether it draws random numbers."""
    arguments = enumerate(func._schema.arguments)
    aliased = [(n, one.name, one.alias_info.is_write) for n, one in arguments if one.alias_info is not None]
    aliased += [(place, "", True) for place in _STATISTICS.get(func, ())]
    return aliased, torch.Tag.nondeterministic_seeded in func.tags


def _numbers(part: Any) -> list[int]:
    parts = part if isinstance(part, list | tuple) else [part]
    return [inner.number for inner in parts if isinstance(inner, Ref)]
