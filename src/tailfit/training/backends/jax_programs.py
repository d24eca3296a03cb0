"""Compile a Python function that uses Keras state as a pure function, with JAX.

Concepts:
- `Scope`: a `keras.StatelessScope` that returns traced values for variables and collects assignments. Unlike Keras'
  own scopes it chains: for a variable that it does not map it asks the scope around it, and Keras' own scopes inside
  it do the same. It records every variable read or written that *no* scope maps.
- `Program`: a Python function compiled as `(values of variables, arguments) -> (result, new values)`. The first trace
  finds these variables: it runs to its end, and if it used unmapped variables, the trace is discarded, the variables
  are added, and the function is traced again. So no variable is ever compiled into a program as a constant.
- `Program.many` runs the function on several batches as one compiled loop that carries those values. The number of
  batches is an argument, not a shape, so the short end of an epoch does not compile again. A GPU asks the host after
  each turn of such a loop (5 times slower, measured on an H200), so there a full stack has a program of its own. Steps
  with convolutions run one by one on a CPU: XLA has no fast kernels for them inside a loop (13 times slower, measured
  with jaxlib 0.10.2).
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Self

import jax
import keras
from jax.extend.core import jaxpr_as_fun

from tailfit.errors import StepError
from tailfit.keras_private import (
    initialize_all_variables,
    loss_scaling_without_cond,
    plain_scopes_chained_within,
    value_behind,
    variables_wait_for_values,
)
from tailfit.training.backends.jax_held import Picked

__all__ = ["ATTEMPTS", "Groups", "Program", "Scope", "SlowInLoopError", "makes_variables_anew", "unshared"]

Groups = Sequence[Sequence[Any]]

# One trace finds the state, one uses it; a new shape, or a variable that is written for the first time, may need one
# more each.
ATTEMPTS = 6


class Scope(keras.StatelessScope):
    """The values of Keras variables while a function is traced."""

    def __init__(self, mapping: Sequence[tuple[Any, Any]] = (), outer: Any = None) -> None:
        # `Program` initialises variables created inside, after the trace: during it their values would be tracers.
        super().__init__(mapping, collect_losses=True, initialize_variables=False)
        self.outer = outer
        self.mapped = set(self.state_mapping)
        self.unmapped: dict[int, Any] = {}
        self.written: dict[int, Any] = {}
        # Whether every variable read in it is carried, and none compiled as a constant; `hyperparameters.py` reads it.
        self.carries_all = outer is None or getattr(outer, "carries_all", False)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_CHAINED)
            stack.enter_context(_SCALABLE)
            super().__enter__()
            self._replaced = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._replaced.close()

    def get_current_value(self, variable: Any) -> Any:
        value = self.state_mapping.get(id(variable))
        if value is None and self.outer is not None:
            return self.outer.get_current_value(variable)
        if value is None:
            self.unmapped[id(variable)] = variable
            return value_behind(variable)  # used in this first trace only; None before it has a value
        return value

    def add_update(self, update: tuple[Any, Any]) -> None:
        variable, value = update
        key = id(variable)
        self.written[key] = variable
        if key not in self.mapped and self.outer is None:
            self.unmapped[key] = variable
        self.state_mapping[key] = value


_CHAINED, _SCALABLE = plain_scopes_chained_within(Scope), loss_scaling_without_cond()


class _Found(Exception):  # noqa: N818  # not an error: ends a trace that has found new state
    def __init__(self, unmapped: Sequence[Any], written: set[int]) -> None:
        self.unmapped, self.written = unmapped, written


class _Returned(tuple[Any, ...]):
    """A state that a program returned: its values are distinct, and match the variables of its groups."""

    program: "Program"


class SlowInLoopError(Exception):
    """Raised for a step that XLA would run much slower inside a loop than by itself."""


def _rows(batches: Any) -> int:
    """Return the number of rows of a stack of batches."""
    return len(batches.positions if isinstance(batches, Picked) else jax.tree.leaves(batches)[0])


def _convolves(jaxpr: Any) -> bool:
    return any(
        equation.primitive.name == "conv_general_dilated" or any(map(_convolves, _inside(equation)))
        for equation in jaxpr.eqns
    )


def _inside(equation: Any) -> Iterator[Any]:
    """Yield the programs inside an equation: those of a call, a branch or a loop."""
    for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda part: hasattr(part, "eqns")):
        if hasattr(parameter, "jaxpr") or hasattr(parameter, "eqns"):
            yield getattr(parameter, "jaxpr", parameter)


class Program:
    """A function of Keras state, compiled.

    Args:
        fn: The function to compile.
        groups: Function that returns the variables whose values the caller passes in and gets back (Keras' `fit` keeps
            these values); a function, since the first trace may create variables. The program itself reads and
            assigns all other variables.
        compiled: Whether to compile; False for `run_eagerly` and `jit_compile=False`.
    """

    def __init__(self, fn: Callable[..., Any], groups: Callable[[], Groups], *, compiled: bool = True) -> None:
        self.fn, self.list_groups = fn, groups
        self.groups: Groups | None = None
        self.read: list[Any] = []
        self.written: list[Any] = []
        # The same jit throughout: compiled shapes are kept when a new shape brings new variables. The number of
        # variables is part of its cache key.
        self.run = jax.jit(self._pure, donate_argnums=(0, 1)) if compiled else self._pure
        self.run_many = jax.jit(self._pure_many, donate_argnums=(0, 1))
        self.run_all = jax.jit(partial(self._pure_many, count=None), donate_argnums=(0, 1))
        self.fusable = True

    def __call__(self, state: Groups, *args: Any, **kwargs: Any) -> tuple[Any, Groups]:
        return self._carried(self.run, state, args, kwargs)

    def many(self, state: Groups, batches: Any, count: int) -> tuple[Any, Groups]:
        """Run one step after the other on the first `count` rows of `batches`; return the result of the last.

        Raises:
            SlowInLoopError: If this step is slow inside a loop. Nothing was run, and `fusable` is False from then on.
        """
        try:
            if jax.default_backend() != "cpu" and count == _rows(batches):
                return self._carried(self.run_all, state, batches)
            return self._carried(self.run_many, state, batches, count)
        except SlowInLoopError:
            self.fusable = False
            raise

    def _carried(self, run: Callable[..., Any], state: Groups, *args: Any) -> tuple[Any, Groups]:
        # Usually the state is the one this program returned last. Then the checks below, which cost time in every
        # step, are not needed.
        as_returned = isinstance(state, _Returned) and state.program is self
        if not as_returned and (
            self.groups is None or any(len(g) != len(s) for g, s in zip(self.groups, state, strict=True))
        ):
            self.groups = self.list_groups()  # the caller's lists have changed, for example as a layer was frozen
        own: list[Any]
        read: list[Any]
        for _ in range(ATTEMPTS):
            groups, own, read = tuple(state), [], []
            if not as_returned or self.written or self.read:
                read = [v.value for v in self.read]
                own = unshared([v.value for v in self.written], holders=2)
                *rest, own = _distinct([*groups, own], read)
                groups = tuple(rest)
            try:
                out, state, own = run(groups, own, read, *args)
            except _Found as found:
                state, as_returned = self._extend(found, state), False
                continue
            for variable, value in zip(self.written, own, strict=True):
                variable.assign(value)
            returned = _Returned(state)
            returned.program = self
            return out, returned
        raise makes_variables_anew(ATTEMPTS)

    def _pure(self, state: Groups, own: Any, read: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
        groups = self.groups or ()
        mapping = [pair for g, s in zip(groups, state, strict=True) for pair in zip(g, s, strict=True)]
        mapping += zip(self.written, own, strict=True)
        mapping += zip(self.read, read, strict=True)
        args = [arg.batch() if isinstance(arg, Picked) else arg for arg in args]
        with Scope(mapping) as scope:
            out = self.fn(*args, **kwargs)
        writes_of_read = scope.written.keys() & {id(v) for v in self.read}
        if scope.unmapped or writes_of_read or variables_wait_for_values():
            raise _Found(list(scope.unmapped.values()), set(scope.written))
        value = scope.state_mapping
        return out, tuple([value[id(v)] for v in g] for g in groups), [value[id(v)] for v in self.written]

    def _pure_many(self, state: Groups, own: Any, read: Any, batches: Any, count: Any) -> tuple[Any, Any, Any]:
        def row(number: Any) -> Any:
            if isinstance(batches, Picked):
                return batches.row(number).batch()
            return jax.tree.map(lambda part: jax.lax.dynamic_index_in_dim(part, number, keepdims=False), batches)

        def one(state: Groups, own: Any, batch: Any) -> Any:
            return self._pure(state, own, read, (batch,), {})

        # Traced once, here: the loop's carry needs the shapes that a step returns before the first step runs.
        traced, (shapes, *_) = jax.make_jaxpr(one, return_shape=True)(state, own, row(0))
        if jax.default_backend() == "cpu" and _convolves(traced.jaxpr):
            raise SlowInLoopError
        step, (outs, tree) = jaxpr_as_fun(traced), jax.tree.flatten(shapes)
        carried, carried_tree = jax.tree.flatten((state, own))

        def body(number: Any, values: Any) -> Any:
            results = step(*values[len(outs) :], *jax.tree.leaves(row(number)))
            # A step may return weakly typed numbers; a carry must keep its dtype.
            return [jax.numpy.asarray(new, old.dtype) for new, old in zip(results, values, strict=True)]

        first = [jax.numpy.zeros(out.shape, out.dtype) for out in outs]
        values = jax.lax.fori_loop(0, _rows(batches) if count is None else count, body, [*first, *carried])
        state, own = jax.tree.unflatten(carried_tree, values[len(outs) :])
        return jax.tree.unflatten(tree, values[: len(outs)]), state, own

    def _extend(self, found: _Found, state: Groups) -> Groups:
        initialize_all_variables()
        old, self.groups = self.groups or (), self.list_groups()
        if [len(g) for g in old] != [len(g) for g in self.groups]:
            # Variables created in the trace belong to the caller's groups: assign the values to all variables, and
            # read them again in the order that the groups have now.
            for group, values in zip(old, state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
            state = tuple([v.value for v in g] for g in self.groups)
        held = {id(v) for g in self.groups for v in g}
        candidates = {id(v): v for v in [*self.written, *self.read, *found.unmapped]}
        earlier = {id(v) for v in self.written}
        mine = [v for key, v in candidates.items() if key not in held]
        self.written = [v for v in mine if id(v) in earlier or id(v) in found.written]
        chosen = {id(v) for v in self.written}
        self.read = [v for v in mine if id(v) not in chosen]
        return state


def makes_variables_anew(times: int) -> StepError:
    """Return the error for a function that creates variables in every trace."""
    return StepError(
        f"a function that created new variables in each of {times} traces",
        expected="variables that are created once",
        fix="create layers, optimizers, metrics and variables outside the function, or at its first call only",
    )


def _counts_references() -> bool:
    """Return whether this interpreter counts references as CPython does: the list's, another name's, the call's."""
    values = [object()]
    alone = sys.getrefcount(values[0])
    other = values[0]
    return (alone, sys.getrefcount(other)) == (2, 3)


_COUNTS_REFERENCES: Final = _counts_references()


def unshared(values: list[Any], holders: int) -> list[Any]:
    """Return values that may be donated to a program: those that anything else refers to are copied.

    A donated array is deleted, also for a callback that kept it. JAX does not tell who holds an array, and copying all
    of them would double the memory of a step; so references are counted where the interpreter counts them exactly.
    `test_trap_07_an_array_that_a_callback_kept_stays_as_it_was` guards it.

    Args:
        holders: Number of references that each value has in any case, the one of this list included.
    """
    # One more for the call that counts; by index, so that no name refers to the value.
    return [
        values[index] if _COUNTS_REFERENCES and sys.getrefcount(values[index]) <= holders + 1 else values[index].copy()
        for index in range(len(values))
    ]


def _distinct(donated: Sequence[Any], kept: Sequence[Any]) -> Sequence[Any]:
    """Return the values to donate, with a copy of each that occurs twice or is also kept.

    After `target.assign(source)` two variables share an array, and a donated array cannot be read any more.
    """
    ids = [id(value) for group in [*donated, kept] for value in group]
    if len(set(ids)) == len(ids):
        return donated
    seen = {id(value) for value in kept}

    def only_once(value: Any) -> Any:
        if id(value) in seen:
            return value.copy()
        seen.add(id(value))
        return value

    return [[only_once(value) for value in group] for group in donated]
