"""Steps that are recorded once for each form of their inputs, and repeated from then on.

The first step with inputs of a new form runs eagerly, since it may create variables. The next two are recorded. At
the first step of an epoch the recording is compared with a new one, since Python code may have changed in between.

What cannot be recorded runs eagerly, which is logged once: code that takes numbers out of tensors and computes with
them in Python, or a step that changes attributes of its model. `TAILFIT_TORCH_GRAPH=0` in the environment
turns recording off.
"""

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final

import torch

from tailfit.keras_private import get_keras_mask
from tailfit.training.backends.torch_graph.program import MISSING, Program
from tailfit.whole_calls import whole_calls_recorded

__all__ = ["Traced", "enabled"]

_MOST_FORMS: Final = 32
_MOST_ATTEMPTS: Final = 3

_log = logging.getLogger("tailfit.training")


def enabled() -> bool:
    """Return whether steps are recorded."""
    return os.environ.get("TAILFIT_TORCH_GRAPH", "1") != "0"


class Traced:
    """A step that is recorded and repeated.

    Args:
        step: The step; it runs under `no_grad`.
        name: Its name, for the log.
        attributes: Returns the numbers and flags that the step must not change.
    """

    # Without a __dict__, so that a search for variables in the attributes of a model does not enter recordings.
    __slots__ = ("_attempts", "_attributes", "_check", "_learning", "_name", "_programs", "_step", "refused")

    def __init__(self, step: Callable[..., Any], name: str, attributes: Callable[[], Any]) -> None:
        self._step, self._name, self._attributes = step, name, attributes
        self._programs: dict[Any, list[Program]] = {}
        self._attempts = 0
        self._check = False
        self._learning = threading.Lock()
        self.refused: str | None = None

    def check(self) -> None:
        """Compare the recording with a new one at the next call."""
        self._check = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(args, kwargs, read=True)

    def without_outputs(self, *args: Any) -> Any:
        """Call the step for its changes only: a repetition leaves out what only the outputs need, and returns None."""
        return self._call(args, {}, read=False)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, read: bool) -> Any:
        if self.refused is not None or whole_calls_recorded():
            return self._step(*args, **kwargs)
        tensors: list[torch.Tensor] = []
        form = _form((args, kwargs) if kwargs else args, tensors)
        programs = self._programs.get(form)
        if programs is None or form is None:
            if form is not None and len(self._programs) < _MOST_FORMS:
                self._programs[form] = []
            return self._step(*args, **kwargs)
        for program in programs:
            if program.fits():
                break
        else:
            program = Program()
            programs.append(program)
        if program.ready and not self._check:
            outputs = program.run(tensors, read=read)
            if outputs is not MISSING:
                return outputs
            if program.keeps_missing():
                self._refuse("Python code that depends on the values of tensors")
                return self._step(*args, **kwargs)
        if not self._learning.acquire(blocking=False):  # another thread is recording
            return self._step(*args, **kwargs)
        self._check = False
        try:
            return self._learn(program, lambda: self._step(*args, **kwargs), tensors, form)
        finally:
            self._learning.release()

    def _learn(self, program: Program, step: Callable[[], Any], tensors: list[torch.Tensor], form: Any) -> Any:
        before = self._attributes()
        result, contradiction = program.learn(step, tensors)
        changed = _changed(before, self._attributes())
        if changed is not None:
            self._refuse(f"a step that changes {changed}")
        elif contradiction is not None:
            self._attempts += 1
            self._programs.clear()
            program = Program()
            program.start(contradiction)
            self._programs[form] = [program]
            if self._attempts > _MOST_ATTEMPTS:
                self._refuse("Python code that differs from step to step")
        elif program.ready:
            self._attempts = 0
        if program.refused is not None:
            self._refuse(program.refused)
        return result

    def _refuse(self, reason: str) -> None:
        if self.refused is None:
            _log.info("%s runs operator by operator, without a recorded graph: %s", self._name, reason)
        self.refused = reason
        self._programs.clear()


def _changed(before: dict[Any, Any], after: dict[Any, Any]) -> str | None:
    """Return the name of an attribute whose number has changed."""
    return next((str(key) for key, value in before.items() if after.get(key, value) != value), None)


def _form(part: Any, tensors: list[torch.Tensor]) -> Any:
    """Return the structure, shapes and types of inputs, and list their tensors; None if they cannot be recorded."""
    if isinstance(part, torch.Tensor):
        if part.requires_grad or part.device.type == "meta" or get_keras_mask(part) is not None:
            return None
        if type(part) is not torch.Tensor:
            return None
        tensors.append(part)
        return part.shape, part.stride(), part.dtype, part.device
    if part is None:
        return "none"
    if type(part) in (list, tuple):
        forms = tuple([_form(inner, tensors) for inner in part])
        return None if None in forms else forms
    if type(part) is dict:
        forms = tuple([_form(inner, tensors) for inner in part.values()])
        return None if None in forms else (tuple(part), forms)
    return None
