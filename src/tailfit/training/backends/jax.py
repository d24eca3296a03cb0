"""JAX: a step becomes a pure function of the variables it touches.

Concepts:
- `Scope`: a `keras.StatelessScope` that hands out traced values for variables and collects what is assigned. Unlike
  Keras' own it chains: a variable it does not map is asked of the scope outside it, and so do Keras' own inside it. It
  remembers every variable read or written that *no* scope maps.
- `Program`: a Python function compiled as `(values of variables, arguments) -> (result, new values)`. Which variables
  these are, the first trace finds: it runs to its end with whatever is unmapped, and if anything was, the trace is
  thrown away, the variables found are added, and it is traced again. So no variable is ever baked into a program as a
  constant.
- *fused steps*: `Program.many` runs several batches as one compiled loop that carries those values. How many is a
  number, not a shape, so that the short tail of an epoch does not compile anew. Steps with convolutions run one by one
  on a CPU: XLA has no fast kernels for them inside a loop (13 times slower, measured with jaxlib 0.10.2).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from itertools import groupby, islice
from types import MethodType
from typing import Any

import jax
import keras
import numpy as np
from jax.extend.core import jaxpr_as_fun

from tailfit.errors import StepError
from tailfit.keras_private import (
    chain_plain_scopes_within,
    get_keras_mask,
    get_stateless_scope,
    in_stateless_scope,
    initialize_all_variables,
    set_keras_mask,
    true_step_numbers,
    value_behind,
    variables_wait_for_values,
)

__all__ = ["COMPILES", "Trainer", "function", "value_and_grad"]

COMPILES = True  # whether `function` makes programs

Groups = Sequence[Sequence[Any]]

# One trace finds state, one uses it; a new shape, or a variable that is only now written, may take one more each.
_ATTEMPTS = 6


class Scope(keras.StatelessScope):
    """Stands between Keras variables and their values while a function is traced."""

    def __init__(self, mapping: Sequence[tuple[Any, Any]] = (), outer: Any = None) -> None:
        # Variables made inside are given values by `Program`, after the trace: inside it they would be tracers.
        super().__init__(mapping, collect_losses=True, initialize_variables=False)
        self.outer = outer
        self.mapped = set(self.state_mapping)
        self.unmapped: dict[int, Any] = {}
        self.written: dict[int, Any] = {}
        # Whether every variable read in it is carried, and none is taken for a constant (`losses/_scheduled.py` asks).
        self.carries_all = outer is None or getattr(outer, "carries_all", False)

    def get_current_value(self, variable: Any) -> Any:
        value = self.state_mapping.get(id(variable))
        if value is None and self.outer is not None:
            return self.outer.get_current_value(variable)
        if value is None:
            self.unmapped[id(variable)] = variable
            return value_behind(variable)  # of use to this first trace only; None if it has none yet
        return value

    def add_update(self, update: tuple[Any, Any]) -> None:
        variable, value = update
        key = id(variable)
        self.written[key] = variable
        if key not in self.mapped and self.outer is None:
            self.unmapped[key] = variable
        self.state_mapping[key] = value


chain_plain_scopes_within(Scope)


def value_and_grad(
    fn: Callable[..., tuple[Any, Any]], variables: Sequence[Any], inputs: Sequence[Any], scale: Callable[[Any], Any]
) -> tuple[tuple[Any, Any], list[Any]]:
    outer = get_stateless_scope() if in_stateless_scope() else None
    written: list[Any] = []

    def pure(values: Sequence[Any], inputs: Sequence[Any]) -> tuple[Any, Any]:
        with Scope(list(zip(variables, values, strict=True)), outer) as scope:
            loss, aux = fn(*inputs)
            scaled = scale(loss)
        written[:] = scope.written.values()
        # New values, and the masks that hang on predictions, leave as results: as attributes they would be tracers of
        # a finished trace, or lost.
        updates = [scope.state_mapping[id(v)] for v in written]
        return scaled, (loss, aux, updates, [get_keras_mask(part) for part in jax.tree.leaves(aux)])

    values = [v.value for v in variables]
    differentiated = jax.value_and_grad(pure, (0, 1), has_aux=True)
    for _ in range(_ATTEMPTS):
        (_scaled, (loss, aux, updates, masks)), (gradients, slopes) = differentiated(values, inputs)
        if outer is not None or not variables_wait_for_values():
            break
        # A layer was built in there: it has its weights from now on, and is asked again.
        initialize_all_variables()
    else:
        raise _makes_variables_anew(_ATTEMPTS)
    for part, mask in zip(jax.tree.leaves(aux), masks, strict=True):
        if mask is not None:
            set_keras_mask(part, mask)
    for variable, value in zip(written, updates, strict=True):
        variable.assign(value)
    return (loss, aux), [*gradients, *slopes]


class _Found(Exception):  # noqa: N818  # not an error: it ends a trace that found new state
    def __init__(self, unmapped: Sequence[Any], written: set[int]) -> None:
        self.unmapped, self.written = unmapped, written


class SlowInLoopError(Exception):
    """A step that XLA would run much slower inside a loop than by itself."""


def _convolves(jaxpr: Any) -> bool:
    return any(
        equation.primitive.name == "conv_general_dilated" or any(map(_convolves, _inside(equation)))
        for equation in jaxpr.eqns
    )


def _inside(equation: Any) -> Iterator[Any]:
    """The programs inside an equation: of a call, a branch, a loop."""
    for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda part: hasattr(part, "eqns")):
        if hasattr(parameter, "jaxpr") or hasattr(parameter, "eqns"):
            yield getattr(parameter, "jaxpr", parameter)


class Program:
    """A function of Keras state, compiled.

    Args:
        fn: What is compiled.
        groups: The variables whose values the caller passes in and gets back (Keras' `fit` keeps them); a function,
            since a first trace may create some. All others the program reads and assigns by itself.
        compiled: False runs it eagerly, for `run_eagerly` and `jit_compile=False`.
    """

    def __init__(self, fn: Callable[..., Any], groups: Callable[[], Groups], *, compiled: bool = True) -> None:
        self.fn, self.list_groups = fn, groups
        self.groups: Groups | None = None
        self.read: list[Any] = []
        self.written: list[Any] = []
        # One jit for good: shapes seen before stay compiled when a new shape brings new variables. The number of
        # variables is part of what it is keyed on.
        self.run = jax.jit(self._pure, donate_argnums=(0, 1)) if compiled else self._pure
        self.run_many = jax.jit(self._pure_many, donate_argnums=(0, 1))
        self.fusable = True

    def __call__(self, state: Groups, *args: Any, **kwargs: Any) -> tuple[Any, Groups]:
        return self._carried(self.run, state, args, kwargs)

    def many(self, state: Groups, batches: Any, count: int) -> tuple[Any, Groups]:
        """One step after the other on the first `count` rows of `batches`; the result is the last step's.

        Raises:
            SlowInLoopError: this step is not to be run so; nothing has happened. `fusable` is False from then on.
        """
        try:
            return self._carried(self.run_many, state, batches, count)
        except SlowInLoopError:
            self.fusable = False
            raise

    def _carried(self, run: Callable[..., Any], state: Groups, *args: Any) -> tuple[Any, Groups]:
        if self.groups is None or any(len(g) != len(s) for g, s in zip(self.groups, state, strict=True)):
            self.groups = self.list_groups()  # the caller's lists changed: a layer was frozen, say
        for _ in range(_ATTEMPTS):
            read = [v.value for v in self.read]
            *groups, own = _distinct([*state, [v.value for v in self.written]], read)
            try:
                out, state, own = run(tuple(groups), own, read, *args)
            except _Found as found:
                state = self._extend(found, state)
                continue
            for variable, value in zip(self.written, own, strict=True):
                variable.assign(value)
            return out, state
        raise _makes_variables_anew(_ATTEMPTS)

    def _pure(self, state: Groups, own: Any, read: Any, args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
        groups = self.groups or ()
        mapping = [pair for g, s in zip(groups, state, strict=True) for pair in zip(g, s, strict=True)]
        mapping += zip(self.written, own, strict=True)
        mapping += zip(self.read, read, strict=True)
        with Scope(mapping) as scope:
            out = self.fn(*args, **kwargs)
        writes_of_read = scope.written.keys() & {id(v) for v in self.read}
        if scope.unmapped or writes_of_read or variables_wait_for_values():
            raise _Found(list(scope.unmapped.values()), set(scope.written))
        value = scope.state_mapping
        return out, tuple([value[id(v)] for v in g] for g in groups), [value[id(v)] for v in self.written]

    def _pure_many(self, state: Groups, own: Any, read: Any, batches: Any, count: Any) -> tuple[Any, Any, Any]:
        def row(number: Any) -> Any:
            return jax.tree.map(lambda part: jax.lax.dynamic_index_in_dim(part, number, keepdims=False), batches)

        def one(state: Groups, own: Any, batch: Any) -> Any:
            return self._pure(state, own, read, (batch,), {})

        # Traced once, here: the loop's carry needs to know what a step returns before the first has run.
        traced, (shapes, *_) = jax.make_jaxpr(one, return_shape=True)(state, own, row(0))
        if jax.default_backend() == "cpu" and _convolves(traced.jaxpr):
            raise SlowInLoopError
        step, (outs, tree) = jaxpr_as_fun(traced), jax.tree.flatten(shapes)
        carried, carried_tree = jax.tree.flatten((state, own))

        def body(number: Any, values: Any) -> Any:
            results = step(*values[len(outs) :], *jax.tree.leaves(row(number)))
            # A step may return a Python number's weak type; a carry keeps the type it began with.
            return [jax.numpy.asarray(new, old.dtype) for new, old in zip(results, values, strict=True)]

        first = [jax.numpy.zeros(out.shape, out.dtype) for out in outs]
        values = jax.lax.fori_loop(0, count, body, [*first, *carried])
        state, own = jax.tree.unflatten(carried_tree, values[len(outs) :])
        return jax.tree.unflatten(tree, values[: len(outs)]), state, own

    def _extend(self, found: _Found, state: Groups) -> Groups:
        initialize_all_variables()
        old, self.groups = self.groups or (), self.list_groups()
        if [len(g) for g in old] != [len(g) for g in self.groups]:
            # Variables born in the trace belong to the caller's groups: hand its values back to all variables
            # and take them again, in the order that the groups have now.
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


def _makes_variables_anew(times: int) -> StepError:
    return StepError(
        f"a function that touched other new variables each of the {times} times it was traced",
        allowed="variables made once",
        mend="make layers, optimizers, metrics and variables outside the function, or only at its first call",
    )


def _distinct(donated: Sequence[Sequence[Any]], kept: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """Values to give away, none of them twice or among those kept: variables may share an array, after
    `target.assign(source)`, and one that was given away can't be read any more."""
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


def function(fn: Callable[..., Any]) -> Callable[..., Any]:
    program = Program(fn, tuple)

    @wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if in_stateless_scope():  # already part of a traced function
            return fn(*args, **kwargs)
        return program((), *args, **kwargs)[0]

    return call


class Trainer(keras.Model):
    """Gives Keras' `fit` loop pure functions made of steps that are written as if they were not."""

    train_function: Any = None
    test_function: Any = None
    predict_function: Any = None

    _run_train_step: Callable[[Any], Any]  # given by tailfit.Model

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            self.optimizer.apply = MethodType(_apply_scaled, self.optimizer)

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        true_step_numbers(iterator)
        super()._symbolic_build(iterator, data_batch)

    def _get_jax_state(self, purge_model_variables: bool = False, **kwargs: Any) -> Groups:
        # A step gives its values away. What somebody else holds, an array that a callback kept, is copied first.
        self._jax_state = None  # the values of the last step, which the variables have by now
        state = super()._get_jax_state(purge_model_variables=purge_model_variables, **kwargs)
        holders = 1 if purge_model_variables else 2  # this list; and the variables, unless they were emptied
        return tuple([_own(group, number, holders) for number in range(len(group))] for group in state)

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            self.train_function = self._stepper(
                self._run_train_step,
                lambda: (
                    self.trainable_variables,
                    self.non_trainable_variables,
                    self.optimizer.variables,
                    self.metrics_variables,
                ),
            )

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function = self._stepper(
                self.test_step,
                lambda: (self.trainable_variables, self.non_trainable_variables, self.metrics_variables),
            )

    def make_predict_function(self, force: bool = False) -> None:
        if self.predict_function is None or force:
            self.predict_function = self._stepper(
                self.predict_step,
                lambda: (self.trainable_variables, self.non_trainable_variables),
                concatenate_outputs=True,
            )

    def _stepper(self, step: Callable[[Any], Any], groups: Callable[[], Groups], **kwargs: Any) -> Callable[..., Any]:
        """What Keras' loops call: `(state, iterator) -> (result, state)`."""
        compiled = bool(self.jit_compile) and not self.run_eagerly
        program = Program(step, groups, compiled=compiled)
        fused = compiled and self.steps_per_execution > 1 and not kwargs  # the outputs of predict are all kept
        run = _fused(program, self.steps_per_execution) if fused else self._make_function(program, **kwargs)

        def stepper(state: Groups, iterator: Any) -> tuple[Any, Groups]:
            try:
                result: tuple[Any, Groups] = run(state, iterator)
            except BaseException:
                # Keras took the values out of the variables to save memory, and holds them in this frame only: an
                # unreadable record would cost the user the trained weights.
                _give_back(groups(), state)
                self._jax_state_synced = True
                raise
            return result

        return stepper


def _own(values: list[Any], number: int, holders: int) -> Any:
    """`values[number]`, or a copy of it if anything beside the usual holders has it."""
    # One more for the call that counts.
    return values[number] if sys.getrefcount(values[number]) <= holders + 1 else values[number].copy()


def _fused(program: Program, steps: int) -> Callable[..., Any]:
    """`steps` batches a call as one program; batches of another shape (the last one) apart."""
    seen: set[Any] = set()
    out: Any = None

    def run(state: Groups, iterator: Iterator[Any]) -> tuple[Any, Groups]:
        nonlocal out
        batches = list(islice(iterator, steps))
        if not batches:
            raise StopIteration
        for shape, run_of_them in groupby(batches, _signature):
            alike = list(run_of_them)
            if program.fusable and (len(alike) > 1 or shape in seen):
                stacked = _stacked(alike, steps)
                # JAX returns before it has computed: without a bound dozens of stacks would wait in memory.
                jax.block_until_ready(out)  # type: ignore[no-untyped-call]
                try:
                    out, state = program.many(state, stacked, len(alike))
                    seen.add(shape)
                    continue
                except SlowInLoopError:
                    pass
            for batch in alike:
                out, state = program(state, batch)
        return out, state

    return run


def _signature(batch: Any) -> Any:
    parts, structure = jax.tree.flatten(batch)
    return structure, tuple((part.shape, part.dtype) for part in parts)


def _stacked(batches: Sequence[Any], rows: int) -> Any:
    """Batches of one shape along a new first axis of `rows`; what is beyond the batches is never read."""

    def stack(*parts: Any) -> Any:
        if any(isinstance(part, jax.Array) for part in parts):
            return jax.numpy.stack([*parts, *[parts[0]] * (rows - len(parts))])
        out = np.empty((rows, *parts[0].shape), parts[0].dtype)
        np.stack(parts, out=out[: len(parts)])
        return out

    return jax.tree.map(stack, *batches)


def _give_back(groups: Groups, state: Groups) -> None:
    for group, values in zip(groups, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            if not value.is_deleted():  # else the failed step itself consumed it
                variable.assign(value)


def _apply_scaled(self: Any, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
    """`LossScaleOptimizer.apply` assigns inside `cond`, where tracers leak: its stateless form does not."""
    variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
    if not self.built:
        self.build(variables)
        self.built = True
    new_values, new_own = self.stateless_apply(
        [v.value for v in self.variables], list(grads), [v.value for v in variables]
    )
    for variable, value in zip([*variables, *self.variables], [*new_values, *new_own], strict=True):
        variable.assign(value)
