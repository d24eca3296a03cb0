"""Traps 3, 7 and 26: callbacks whose changes are ignored, whose arrays vanish, or whose state is lost on resuming."""

import ast
from collections.abc import Iterator
from typing import Any

import keras

from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup
from tailfit.diagnosis.source_code import Code, code_of, methods_of

__all__: list[str] = []

_HOOKS = (
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_end",
    "on_batch_begin",
)
_COPIES = {
    "array",
    "copy",
    "deepcopy",
    "float",
    "convert_to_numpy",
    "numpy",
    "mean",
    "sum",
    "norm",
    "max",
    "min",
    "len",
}


def _hooks(setup: Setup) -> Iterator[tuple[Any, str, Code]]:
    """Yield (callback, hook, code) of all hooks that the user wrote, those of a LambdaCallback included."""
    for callback in setup.callbacks:
        for name, code in methods_of(callback).items():
            if name in _HOOKS:
                yield callback, name, code
        if isinstance(callback, keras.callbacks.LambdaCallback):
            for name in _HOOKS:
                code_or_none = code_of(vars(callback).get(name))
                if code_or_none is not None:
                    yield callback, name, code_or_none


@check(3, "a change that the compiled step never sees")
def ignored_changes(setup: Setup) -> Iterator[Problem]:
    """A compiled step keeps Python values for good, and on JAX variables that the model does not track."""
    if setup.backend == "torch" or getattr(setup.model, "run_eagerly", False):
        return
    tracked = {id(variable) for variable in setup.model.variables}
    for callback, name, code in _hooks(setup):
        found = _change(setup, _with_model(code, callback, setup.model), tracked)
        if found is None:
            continue
        node, text, value = found
        yield Problem(
            f"{name} changes {text}, but the step is compiled with its first value. "
            + (
                "On JAX only variables that the model tracks are read anew in each step."
                if setup.backend == "jax"
                else "On TensorFlow a Python number is a constant of the graph."
            ),
            "make it a keras.Variable(trainable=False) that is an attribute of the model (self.tau = ...), pass it "
            "to the "
            "loss, and change it by assign()",
            "tailfit.schedules in losses, steps and weights take effect without compiling again",
            f"{text} is {value} when the step is compiled, and stays so",
            code.place(node),
        )
        return


def _with_model(code: Code, callback: Any, model: Any) -> Code:
    """Return the code with `self.model` resolved, which Keras sets only when fit begins."""
    if getattr(callback, "model", None) is not None or "self" not in code.known:
        return code
    stand_in = _CallbackWithModel(callback, model)
    return Code(code.node, code.file, code.first, {**code.known, "self": stand_in})


class _CallbackWithModel:
    """A callback as it is during fit, without setting anything on it."""

    def __init__(self, callback: Any, model: Any) -> None:
        self._callback, self.model = callback, model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)


def _change(setup: Setup, code: Code, tracked: set[int]) -> tuple[ast.AST, str, Any] | None:
    """Return the first statement that changes what a compiled step ignores: (node, its text, value now)."""
    for node in code.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changed = code.resolve(node.func.value)
            if not node.func.attr.startswith("assign") or not isinstance(changed, keras.Variable):
                continue
            if setup.backend == "jax" and id(changed) not in tracked and _of_a_loss(setup, changed):
                return node, ast.unparse(node.func.value), float(changed) if not changed.shape else "an array"
            continue
        if not isinstance(node, ast.Assign | ast.AugAssign):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if not isinstance(target, ast.Attribute):
                continue
            owner = code.resolve(target.value)
            if any(owner is loss for loss in setup.losses) or _read_in_a_step(setup, owner, target.attr):
                value = getattr(owner, target.attr, None)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    return node, ast.unparse(target), value
    return None


def _of_a_loss(setup: Setup, variable: Any) -> bool:
    """Return whether a variable belongs to a compiled loss: an attribute of it, or in the closure of its function."""
    for loss in setup.losses:
        code = code_of(loss) or code_of(getattr(loss, "fn", None))
        owned = [*vars(loss).values()] if hasattr(loss, "__dict__") else []
        named = {node.id for node in code.nodes if isinstance(node, ast.Name)} if code is not None else set()
        owned += [code.known.get(name) for name in named] if code is not None else []
        if any(each is variable for each in owned):
            return True
    return False


def _read_in_a_step(setup: Setup, owner: Any, attribute: str) -> bool:
    """Return whether an attribute of the model or of a layer of the user is read in the step."""
    if owner is not setup.model and not any(owner is layer for layer in setup.parts):
        return False
    codes = [code for name, code in methods_of(owner).items() if name in ("call", "train_step", "compute_loss")]
    return any(attribute in code.attributes for code in codes)


@check(7, "arrays that are deleted by the next step")
def kept_arrays(setup: Setup) -> Iterator[Problem]:
    """On JAX the arrays of a state are donated: the next step reuses their memory."""
    if setup.backend != "jax" or getattr(setup.model, "run_eagerly", False):
        return
    for _, name, code in _hooks(setup):
        kept = next((node for node in code.nodes if _keeps(node)), None) if "batch" in name else None
        if kept is not None:
            yield Problem(
                f"{name} keeps the value of a variable. On JAX the next step donates this array, so that it is "
                f"deleted: "
                "reading it later raises 'Array has been deleted'. Touching the model in each batch also copies all "
                "state "
                "back from the step.",
                "keep a copy: np.array(variable.value), or keras.ops.convert_to_numpy(variable).copy()",
                "values that a callback keeps stay valid",
                place=code.place(kept),
            )
            return


def _keeps(node: ast.AST) -> bool:
    """Return whether a statement stores `variable.value` in an attribute or a list, without copying it."""
    if isinstance(node, ast.Assign) and any(isinstance(target, ast.Attribute) for target in node.targets):
        return _uncopied(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("append", "extend"):
        return any(map(_uncopied, node.args))
    return False


def _uncopied(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _COPIES:
            return False
    if isinstance(node, ast.Attribute) and node.attr == "value":
        return True
    return any(map(_uncopied, ast.iter_child_nodes(node)))


@check(26, "BackupAndRestore repeats batches")
def repeated_batches(setup: Setup) -> Iterator[Problem]:
    """It saves within the epoch, and restores to the beginning of the epoch."""
    for callback in setup.callbacks_of(keras.callbacks.BackupAndRestore):
        every = callback.save_freq
        if every == "epoch" or not every:
            continue
        yield Problem(
            f"save_freq={every} saves the weights within an epoch together with the batch number, but the batch "
            f"number is "
            "never read: after a crash the whole epoch is trained again, on top of its first part.",
            'use save_freq="epoch"',
            "tailfit.callbacks.Resume(directory, save_freq=steps) continues at the very step, bit for bit",
            _repeated(setup, every),
        )


def _repeated(setup: Setup, every: int) -> str | None:
    steps = setup.get("steps_per_epoch")
    if not steps and setup.samples:
        steps = -(-setup.samples // setup.batch_size)
    if not steps and setup.kind == "PyDataset":
        steps = setup.x.num_batches
    if not steps or steps <= every:
        return None
    last = (steps - 1) // every * every
    return f"an epoch has {steps} updates: after a crash at the last one, {last} of them are applied twice"


@check(26, "callbacks start afresh after BackupAndRestore")
def forgotten_callbacks(setup: Setup) -> Iterator[Problem]:
    """Only weights, optimizer and epoch are restored."""
    if not setup.callbacks_of(keras.callbacks.BackupAndRestore):
        return
    kinds = (keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau, keras.callbacks.ModelCheckpoint)
    stateful = [each for each in setup.callbacks_of(*kinds) if getattr(each, "save_best_only", True) is not False]
    if not stateful:
        return
    names = ", ".join(type(each).__name__ for each in stateful)
    yield Problem(
        f"BackupAndRestore saves weights, optimizer and epoch only. After a restart {names} begin anew: the best "
        f"value so "
        "far and the waiting epochs are forgotten, so a worse checkpoint replaces the best one, and training stops "
        "late.",
        "pass initial_value_threshold= to ModelCheckpoint with the best value so far, and restart patience knowingly",
        "tailfit.callbacks.Resume saves the state of callbacks, history, random numbers and data order",
        _patience(stateful),
    )


def _patience(stateful: list[Any]) -> str | None:
    longest = max((each.patience for each in stateful if hasattr(each, "patience")), default=0)
    return (
        f"patience={longest}: up to {longest - 1} waiting epochs are forgotten by each restart" if longest > 1 else None
    )
