"""A comparison of all workers before the first step: they must train the same model on the same data."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

import tailfit
from tailfit.errors import WorkerError
from tailfit.training.backends import engine
from tailfit.training.feed import Feed
from tailfit.training.identity import digest, identity_of
from tailfit.training.parts.state import State
from tailfit.training.workers import exchange

__all__ = ["agree"]

_FIXES = {
    "weights": "call keras.utils.set_random_seed(1) before the model is built",
    "random": "seed the generators: keras.utils.set_random_seed(1) at the beginning of the script",
    "data": "let all workers read the same data set",
    "tailfit": "install the same version of tailfit on all machines",
    "keras": "install the same version of Keras on all machines",
}


def agree(model: Any, feed: Feed, validation: Feed | None, settings: Mapping[str, Any]) -> None:
    """Check that all workers are about to take the same steps.

    Raises:
        WorkerError: On all workers, if they differ.
    """
    if exchange().place.world == 1:
        return
    own = {
        "tailfit": tailfit.__version__,
        "keras": keras.__version__,
        **identity_of(model, feed.batches, None if validation is None else validation.batches, ()),
        **settings,
        "epoch": [feed.epoch, feed.first],
        "weights": _digests([*model.variables, *([] if model.optimizer is None else model.optimizer.variables)]),
        "random": [_digests(State(model, ()).seeds), [digest(words) for words in engine.random_state().values()]],
    }
    every = exchange().documents(own)
    different = {key: [rank for rank, other in enumerate(every) if other.get(key) != every[0].get(key)] for key in own}
    different = {key: ranks for key, ranks in different.items() if ranks}
    if different:
        raise _workers_differ(different)


def _digests(variables: Sequence[Any]) -> str:
    combined = hashlib.sha256()
    for variable in variables:
        combined.update(digest(np.asarray(keras.ops.convert_to_numpy(variable.value))).encode())
    return combined.hexdigest()[:16]


def _workers_differ(different: Mapping[str, Sequence[int]]) -> WorkerError:
    named = "; ".join(f"{key} of rank {', '.join(map(str, ranks))}" for key, ranks in different.items())
    fixes = [_FIXES[key] for key in different if key in _FIXES]
    return WorkerError(
        f"workers that differ from rank 0 in: {named}",
        expected="workers that run the same script with the same arguments on the same data",
        fix="; ".join(fixes) or "start all workers with the same code and arguments",
    )
