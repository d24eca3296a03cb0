"""Traps 19 to 23, 25 and 28: the order and the contents of batches from data sets."""

import ast
import multiprocessing
import random
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tailfit.diagnosis.batches import generators_restored, last_of
from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup
from tailfit.diagnosis.source_code import Code, code_of, methods_of

__all__: list[str] = []

# Methods of generators that choose samples, rather than change them.
_CHOICES = {"choice", "choices", "integers", "permutation", "permuted", "randint", "randrange", "sample", "shuffle"}
_ENDLESS = 2**40


@check(19, "fit shuffles the batches of a PyDataset")
def shuffled_batches(setup: Setup) -> Iterator[Problem]:
    """`shuffle=True` is the default, and permutes the indices that `__getitem__` gets."""
    if setup.kind != "PyDataset" or not setup.get("shuffle", True) or not setup.x.num_batches:
        return
    stateful = next((layer for layer in setup.parts if getattr(layer, "stateful", False)), None)
    if setup.arguments.get("shuffle") is not None and setup.arguments["shuffle"]:
        return  # asked for
    if stateful is not None:
        reason = f"The stateful layer {stateful.name!r} then carries its state on to a batch that does not follow."
    elif getattr(setup.x, "shuffle", None) is False:
        reason = "Its own attribute shuffle=False has no effect on that."
    else:
        return
    order = list(range(min(setup.x.num_batches, 12)))
    with generators_restored():
        random.shuffle(order)
    yield Problem(
        f"fit has shuffle=True by default and reads the batches of a PyDataset in random order. {reason}",
        "pass shuffle=False to fit",
        "tailfit.Model.fit reads a Batches in the order of its sampler, a pure function of seed and epoch",
        f"the first {len(order)} batches would be read in an order such as {order}",
    )


@check(20, "the data set's epochs begin too early")
def phantom_epoch(setup: Setup) -> Iterator[Problem]:
    """Before training, Keras opens an epoch to look at the shapes, and closes it again."""
    if setup.kind != "PyDataset":
        return
    methods = methods_of(setup.x)
    # On TensorFlow only the end of the phantom epoch is announced.
    hooks = ("on_epoch_end",) if setup.backend == "tensorflow" else ("on_epoch_end", "on_epoch_begin")
    for hook in hooks:
        code = methods.get(hook)
        for node in code.nodes if code is not None else ():
            name = _counted(node)
            if code is None or name is None or not _read_elsewhere(methods, name, hooks):
                continue
            now = getattr(setup.x, name, None)
            later = f"{now + 1}" if isinstance(now, int) else "one step further"
            yield Problem(
                f"Before the first epoch, the first fit of a model reads a batch to learn the shapes, and calls "
                f"{hook}. "
                f"So {name} has advanced once before training starts, and the first epoch is skipped.",
                "count epochs in a callback (on_epoch_begin(epoch) gets the true number), or start from -1",
                "Batches count true epochs, and Resume continues them",
                f"{name} is {now} now, and {later} while the first epoch is read",
                code.place(node),
            )
            return


def _counted(node: ast.AST) -> str | None:
    """Return the attribute of self that a statement counts up; None for other statements."""
    target = node.target if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) else None
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        return target.attr
    return None


def _read_elsewhere(methods: dict[str, Code], name: str, hooks: tuple[str, ...]) -> bool:
    """Return whether the data depend on an attribute: other statements than the counting itself read it."""
    reads = [
        node
        for code in methods.values()
        for node in code.nodes
        if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Load)
    ]
    return bool(reads)


@check(21, "worker threads stay when training stops within an epoch")
def stopped_workers(setup: Setup) -> Iterator[Problem]:
    """Keras stops the workers of a PyDataset at the end of an epoch only."""
    if setup.kind != "PyDataset" or setup.x.workers < 2:
        return
    for callback in setup.callbacks:
        for name, code in methods_of(callback).items():
            stop = next((node for node in code.nodes if _stops(node)), None)
            if "batch" not in name or stop is None:
                continue
            each = setup.x.workers + 4
            yield Problem(
                "A fit that is stopped within an epoch leaves the PyDataset's worker threads (or processes) running "
                "for "
                "good. In a search or a loop over folds they add up.",
                "set stop_training in on_epoch_end only, or pass workers=1",
                "Batches read ahead in one thread, which ends with every fit",
                f"workers={setup.x.workers}: about {each} threads stay after each such fit, {5 * each} after five",
                code.place(stop),
            )
            return


def _stops(node: ast.AST) -> bool:
    if not isinstance(node, ast.Assign) or (isinstance(node.value, ast.Constant) and not node.value.value):
        return False
    return any(isinstance(target, ast.Attribute) and target.attr == "stop_training" for target in node.targets)


@check(22, "worker processes draw the same random numbers")
def equal_workers(setup: Setup) -> Iterator[Problem]:
    """Processes that are forked, or given a pickled generator, begin with equal generators in each epoch."""
    if setup.kind != "PyDataset" or not setup.x.use_multiprocessing or setup.x.workers < 2:
        return
    code = methods_of(setup.x).get("__getitem__")
    forked = (multiprocessing.get_start_method(allow_none=True) or "fork") == "fork"
    for where, call, everywhere in code.draws() if code is not None else ():
        if everywhere and not forked:
            continue
        yield Problem(
            f"{ast.unparse(call.func)} draws from a generator that every worker process has a copy of: all "
            f"{setup.x.workers} workers draw the same numbers, and again the same in the next epoch.",
            "create the generator from the batch: rng = np.random.default_rng((seed, epoch, index))",
            "Batches(transform=f, processes=N) calls f(batch, rng) with a generator of (seed, epoch, step)",
            f"with {setup.x.workers} workers, about 1 batch in {setup.x.workers} has random numbers of its own",
            where.place(call),
        )
        return


@check(23, "uninitialised rows in the last batch")
def garbage_rows(setup: Setup) -> Iterator[Problem]:
    """A buffer of `np.empty((batch_size, ...))` is returned whole although the last batch is short."""
    if setup.kind != "PyDataset" or not setup.x.num_batches:
        return
    code = methods_of(setup.x).get("__getitem__")
    found = [(each, call) for each in code.reached() for call in each.calls if _is_empty(each, call)] if code else []
    if not found:
        return
    garbage = _garbage(setup.x)
    if garbage is None or not garbage[0]:
        return
    where, call = found[0]
    yield Problem(
        "np.empty allocates a full batch, and the last batch has fewer samples: the remaining rows are whatever was in "
        "memory, and are trained on.",
        "allocate np.empty((len(indices), ...)) for the samples that the batch really has",
        "the last batch of a Batches is short, or dropped with drop_remainder=True",
        f"{garbage[0]} of {garbage[1]} rows of batch {setup.x.num_batches - 1} are uninitialised",
        where.place(call),
    )


def _is_empty(code: Code, call: ast.Call) -> bool:
    return code.resolve(call.func) is np.empty


def _garbage(data: Any) -> tuple[int, int] | None:
    """Read the last batch while `np.empty` returns marked memory, and count rows that are still marked."""
    original = np.empty

    def marked(shape: Any, dtype: Any = float, *args: Any, **kwargs: Any) -> Any:
        made = original(shape, dtype, *args, **kwargs)
        if made.dtype.kind in "fiu":
            made.fill(_mark(made.dtype))
        return made

    setattr(np, "empty", marked)  # noqa: B010
    try:
        batch = last_of(data)
    finally:
        setattr(np, "empty", original)  # noqa: B010
    for leaf in keras.tree.flatten(batch):
        if isinstance(leaf, np.ndarray) and leaf.ndim and leaf.size and leaf.dtype.kind in "fiu":
            mark = np.isnan(leaf) if leaf.dtype.kind == "f" else leaf == _mark(leaf.dtype)
            count = int(mark.reshape(len(leaf), -1).all(axis=1).sum())
            if count:
                return count, len(leaf)
    return None


def _mark(dtype: np.dtype[Any]) -> Any:
    return np.nan if dtype.kind == "f" else np.iinfo(dtype).max - 77


@check(25, "an epoch without an end")
def endless_grain(setup: Setup) -> Iterator[Problem]:
    """Keras does not ask grain for its length, so `repeat()` makes the first epoch endless."""
    if setup.kind != "grain" or setup.get("steps_per_epoch"):
        return
    try:
        length = len(setup.x)
    except (TypeError, NotImplementedError):
        return
    if length > _ENDLESS:
        yield Problem(
            "Keras does not ask grain data for their length. With repeat() the first epoch never ends: no "
            "validation, no "
            "on_epoch_end, no checkpoint.",
            "pass steps_per_epoch= to fit, or leave repeat() out: fit starts the data again in each epoch",
            "tailfit.Batches knows its length; tailfit.data reads grain sources",
            f"len() of your data set is {length}",
        )


@check(28, "samples are chosen by a global random number generator")
def global_choice(setup: Setup) -> Iterator[Problem]:
    """The batch is then no function of seed and epoch: another reader, worker or restart gets other samples."""
    if setup.kind == "PyDataset":
        code = methods_of(setup.x).get("__getitem__")
    else:
        code = code_of(setup.x) if setup.kind == "generator" else None
    for where, call, everywhere in code.draws(_CHOICES) if code is not None else ():
        if not everywhere:
            continue
        yield Problem(
            f"{ast.unparse(call.func)} chooses the samples of a batch from a global generator. A batch depends on all "
            "earlier draws of the process: a worker, a second reader or a resumed run gets other samples, and an epoch "
            "may repeat some samples and omit others.",
            "choose with np.random.default_rng((seed, epoch, index)), once per batch",
            "tailfit.samplers (ClassBalanced, Bootstrap, Stratified): any batch is a function of (seed, epoch, step)",
            _read_twice(setup),
            where.place(call),
        )
        return


def _read_twice(setup: Setup) -> str | None:
    if setup.kind != "PyDataset" or setup.batch is None or setup.batch.labels is None:
        return None
    with generators_restored():
        again = [keras.utils.unpack_x_y_sample_weight(tuple(setup.x[0]))[1] for _ in range(2)]
    first, second = (np.asarray(each).reshape(len(each), -1)[:6, 0].tolist() for each in again)
    return f"labels of batch 0, read twice: {first} and {second}" if first != second else None
