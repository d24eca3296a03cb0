"""The source of the user's functions as syntax trees: their calls, assignments and random draws.

Names are resolved to objects where that needs no evaluation: globals, closures, attributes of modules and of `self`.
So `np.empty`, `numpy.empty` and `from numpy import empty` are found alike.
"""

import ast
import inspect
import random
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from tailfit.diagnosis.finding import Place

__all__ = ["Code", "code_of", "is_user_defined", "methods_of"]

# Objects of these packages are not the user's code.
_LIBRARIES = {
    "builtins", "collections", "grain", "jax", "jaxlib", "keras", "keras_hub", "numpy", "sklearn", "tailfit",
    "tensorflow", "torch", "typing",
}  # fmt: skip
# The generators behind `np.random.normal` and `random.random`.
_GLOBAL_GENERATORS = (np.random.random.__self__, random.random.__self__)  # type: ignore[attr-defined]
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_DEEPEST = 3  # calls followed from a method into the user's other functions


def is_user_defined(cls: type) -> bool:
    """Return whether a class is defined outside Keras and the other libraries that the doctor knows."""
    return cls.__module__.partition(".")[0] not in _LIBRARIES


@dataclass(frozen=True)
class Code:
    """A function of the user, parsed.

    Attributes:
        node: Its syntax tree.
        file, first: Its file, and the line of the file on which the tree begins.
        known: Objects by name: globals, closure, and `self` if it is a method.
    """

    node: ast.AST
    file: str
    first: int
    known: Mapping[str, Any]

    def place(self, node: Any = None) -> Place:
        """Return the place of a part of the function; of the function itself without an argument."""
        line = 1 if node is None else int(getattr(node, "lineno", 1))
        return Place(self.file, self.first + line - 1)

    def resolve(self, node: ast.AST) -> Any:
        """Return the object that an expression of names and attributes stands for; None if not known."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.resolve(node.value)
            if owner is None:
                return None
            try:
                return getattr(owner, node.attr, None)
            except Exception:  # a property of the user's object may raise anything
                return None
        return None

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All parts of the function."""
        return list(ast.walk(self.node))

    @property
    def calls(self) -> Iterator[ast.Call]:
        """All calls in the function."""
        return (node for node in self.nodes if isinstance(node, ast.Call))

    @property
    def attributes(self) -> set[str]:
        """Names of all attributes that the function reads or writes."""
        return {node.attr for node in self.nodes if isinstance(node, ast.Attribute)}

    def reached(self, depth: int = _DEEPEST) -> "Iterator[Code]":
        """Yield this function and the user's functions and methods that it calls, with what they call."""
        yield self
        for call in self.calls if depth else ():
            function = self.resolve(call.func)
            owner = getattr(function, "__self__", None)
            inner = code_of(function, owner)
            if inner is not None and inner.place() != self.place():
                yield from inner.reached(depth - 1)

    def draws(self, names: set[str] | None = None) -> "Iterator[tuple[Code, ast.Call, bool]]":
        """Yield calls of random number generators: (function, call, whether it is a global generator).

        Generators that the function creates itself, such as `np.random.default_rng((seed, index))`, are not known by
        name, so their draws are left out.

        Args:
            names: Methods to find, such as "choice"; all without it.
        """
        for code in self.reached():
            for call in code.calls:
                drawing = code.resolve(call.func)
                generator = getattr(drawing, "__self__", None)
                if isinstance(generator, _GENERATORS) and (names is None or drawing.__name__ in names):
                    yield code, call, any(generator is each for each in _GLOBAL_GENERATORS)


def code_of(function: Any, owner: Any = None) -> Code | None:
    """Parse a function, method or generator object of the user; None if it is not, or has no source.

    Args:
        function: Python function, bound method, or generator.
        owner: Object that `self` stands for.
    """
    if inspect.isgenerator(function):
        frame = function.gi_frame
        known = {} if frame is None else {**frame.f_globals, **frame.f_locals}
        return _parsed(function.gi_code, known)
    function = inspect.unwrap(getattr(function, "__func__", function)) if callable(function) else None
    if not isinstance(function, FunctionType) or function.__module__ is None:
        return None
    if function.__module__.partition(".")[0] in _LIBRARIES:
        return None
    known = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            known[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    if owner is not None and function.__code__.co_argcount:
        known[function.__code__.co_varnames[0]] = owner
    return _parsed(function.__code__, known)


def _parsed(code: CodeType, known: Mapping[str, Any]) -> Code | None:
    try:
        lines, first = inspect.getsourcelines(code)
        node = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, TypeError, IndentationError):  # a lambda within a call, or no source at all
        return None
    return Code(node, code.co_filename, max(first, 1), known)


def methods_of(instance: Any) -> dict[str, Code]:
    """Return the methods of an object that the user wrote, by name; those of derived classes take precedence."""
    found: dict[str, Code] = {}
    for cls in type(instance).__mro__:
        if not is_user_defined(cls):
            continue
        for name, value in vars(cls).items():
            if name not in found and isinstance(value, FunctionType):
                code = code_of(value, instance)
                if code is not None:
                    found[name] = code
    return found
