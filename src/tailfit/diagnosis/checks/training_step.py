"""Traps 1, 2 and 4 to 6: steps of the user's own that are written for another backend, or lose part of the work."""

import ast
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Observed, Setup
from tailfit.diagnosis.source_code import Code

__all__: list[str] = []

_ONCE = "tailfit.Model.train_step(self, data) with tailfit.value_and_grad is written once for all backends"
_GRADIENTS = {"GradientTape": "tensorflow", "backward": "torch", "value_and_grad": "jax", "grad": "jax"}


@check(1, "a step written for another backend", calls=("fit", "evaluate"))
def foreign_step(setup: Setup) -> Iterator[Problem]:
    """On JAX a step is `(self, state, data)`, elsewhere `(self, data)`; gradients differ on all three."""
    name = "train_step" if setup.call == "fit" else "test_step"
    code = setup.step_methods.get(name)
    function = next((node for node in code.nodes if isinstance(node, ast.FunctionDef)), None) if code else None
    if code is None or function is None or function.args.vararg is not None:
        return
    given = [each.arg for each in function.args.args]
    expected = ["self", "state", "data"] if setup.backend == "jax" else ["self", "data"]
    foreign = next((each for each in map(_gradient_of, [code] * len(code.nodes), code.nodes) if each), None)
    if len(given) != len(expected):
        what = f"On {setup.backend}, Keras calls {name}({', '.join(expected)}); this one is {name}({', '.join(given)})."
    elif foreign is not None and foreign != setup.backend:
        what = f"This step computes gradients with {foreign}, but the backend is {setup.backend}."
    else:
        return
    yield Problem(
        f"{what} A step must be written once for each backend; fit fails on the others.",
        f"write {name}({', '.join(expected)}) as in the guide 'Customizing what happens in fit() with "
        f"{setup.backend}', or set KERAS_BACKEND to the backend that the step is for",
        _ONCE,
        place=code.place(),
    )


def _gradient_of(code: Code, node: ast.AST) -> str | None:
    """Return the backend whose way of computing gradients an expression is."""
    if not isinstance(node, ast.Attribute) or node.attr not in _GRADIENTS:
        return None
    owner = code.resolve(node.value)
    package = str(getattr(owner, "__name__", "")).partition(".")[0]
    backend = _GRADIENTS[node.attr]
    return backend if package == backend or (node.attr == "backward" and owner is None) else None


@check(2, "a second optimizer that is never updated", after_steps=True)
def idle_optimizer(setup: Setup) -> Iterator[Problem]:
    """On JAX, only the variables of `model.optimizer` travel through a step."""
    seen = setup.observed
    code = setup.step_methods.get("train_step")
    if seen is None or seen.error is not None or code is None or setup.backend != "jax":
        return
    own = int(seen.optimizers.get("optimizer", 0))
    for name, updates in seen.optimizers.items():
        if name != "optimizer" and updates == 0 and name in code.attributes:
            yield Problem(
                f"On JAX the variables of self.{name} are no part of the state of a step: it computes updates from its "
                "initial state each time, and its iterations stay 0. Learning rate schedules and Adam's moments never "
                "advance.",
                "write the training loop by hand, with stateless_apply and a list of variables for each optimizer, "
                "as in "
                "the guide 'Writing a training loop from scratch in JAX'",
                "tailfit.Model finds the variables of every optimizer that a step uses",
                f"after the first steps, optimizer.iterations advanced by {own}, {name}.iterations by {updates}",
                code.place(next((n for n in code.nodes if isinstance(n, ast.Attribute) and n.attr == name), None)),
            )


@check(4, "a StatelessScope within a step reads old values", after_steps=True)
def unchained_scope(setup: Setup) -> Iterator[Problem]:
    """Scopes do not chain: what the inner one does not map is read from before the step."""
    seen = setup.observed
    if seen is not None and seen.stale:
        path, place = seen.stale[0]
        count = len({each for each, _ in seen.stale})
        yield Problem(
            "A step on JAX runs in a StatelessScope. Scopes do not chain: within one of your own, variables that it "
            "does "
            "not map have the value from before fit (or none), and get no gradient.",
            "pass every variable that is read within: keras.StatelessScope(state_mapping=[(v, v.value) for v in ...])",
            "tailfit.Model chains scopes",
            f"{count} variable{'s' * (count > 1)} read past the scope of the step, the first is {path!r}",
            place,
        )


@check(5, "penalties are not part of the gradient", after_steps=True)
def dropped_penalties(setup: Setup) -> Iterator[Problem]:
    """Regularizers and `add_loss` count only if the step asks for them."""
    seen, step, own_loss = setup.observed, *map(setup.step_methods.get, ("train_step", "compute_loss"))
    code = step or own_loss
    if seen is None or code is None or not _dropped(setup, seen, step, own_loss):
        return
    total = _penalty(setup)
    if total is None or total == 0:
        return
    if step is None:
        how = "add sum(self.losses) to the result of compute_loss, or call super().compute_loss(...)"
    elif setup.backend == "jax":
        how = "call self.stateless_call(..., return_losses=True), and add the third result to the loss"
    else:
        how = "compute the loss by self.compute_loss(x, y, y_pred), or add sum(self.losses) to it"
    yield Problem(
        f"The model has regularizers or add_loss, and {'train_step' if step else 'compute_loss'} leaves them out: "
        "weights are not penalised, and nothing says so.",
        how,
        "self.compute_loss within tailfit.value_and_grad includes them on every backend",
        f"the penalties of the first batch are {total:.4g}, and none of it reaches the gradient",
        code.place(),
    )


def _dropped(setup: Setup, seen: Observed, step: Code | None, own_loss: Code | None) -> bool:
    """Return whether a step of the user's own, or a loss of the user's own, was seen to leave the penalties out."""
    if step is None:
        mentioned = own_loss is not None and "losses" in own_loss.attributes
        return seen.error is None and not seen.default_loss and not mentioned
    # A regularizer of weights that is read outside the call has no values on JAX: the step fails.
    reached = seen.called_without_penalties or (setup.backend != "jax" and seen.error is None)
    return reached and not seen.penalties_read


def _penalty(setup: Setup) -> float | None:
    if setup.batch is None or setup.runnable is None:
        return None
    setup.predict(setup.batch.x)  # add_loss is called in the forward pass
    try:
        values = [float(np.sum(keras.ops.convert_to_numpy(each))) for each in setup.runnable.losses]
    except Exception:  # values of a trace that has ended
        return None
    return sum(values)


@check(6, "loss scaling within a step on JAX")
def scaled_apply(setup: Setup) -> Iterator[Problem]:
    """`LossScaleOptimizer.apply` writes variables inside `cond`, which leaks tracers."""
    code = setup.step_methods.get("train_step")
    optimizer = setup.model.optimizer
    if setup.backend != "jax" or code is None or not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return
    for call in code.calls:
        function = call.func
        if not isinstance(function, ast.Attribute) or function.attr not in ("apply", "apply_gradients"):
            continue
        if code.resolve(function.value) is optimizer:
            yield Problem(
                "LossScaleOptimizer.apply assigns variables within jax.lax.cond: tracers leak, and a later step fails "
                "with an UnexpectedTracerError.",
                "use self.optimizer.stateless_apply(optimizer_variables, gradients, trainable_variables)",
                "self.optimizer.apply works in a tailfit.Model",
                place=code.place(call),
            )
            return


@check(6, "random numbers without a seed within a step on JAX")
def unseeded_numbers(setup: Setup) -> Iterator[Problem]:
    """Keras raises an error there: the global seed is no part of the state."""
    if setup.backend != "jax":
        return
    for code in setup.step_code:
        for call in code.calls:
            drawn = code.resolve(call.func)
            if str(getattr(drawn, "__module__", "")).startswith("keras.src.random") and _unseeded(call):
                yield Problem(
                    f"{ast.unparse(call.func)} without seed= raises an error within a compiled step on JAX.",
                    "create self.seed = keras.random.SeedGenerator(1) in __init__, and pass seed=self.seed",
                    "the same; without a seed, tailfit.Model refuses it with this fix",
                    place=code.place(call),
                )
                return


def _unseeded(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given: Any = next((each.value for each in call.keywords if each.arg == "seed"), None)
    return name != "SeedGenerator" and (given is None or (isinstance(given, ast.Constant) and given.value is None))
