"""Agreement of the workers of a training before it starts: each is ready and has the same code, data and directory.

Nothing is checked in a process that trains alone.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import keras

import tailfit
from tailfit.errors import ArgumentError, DataError
from tailfit.recipes.data_identity import describe_change
from tailfit.recipes.recipe import Recipe
from tailfit.storage.reading import read_whole
from tailfit.training.together import together
from tailfit.training.workers import exchange
from tailfit.workers import place

__all__ = ["check_same", "check_shared"]

_MOST_CODE: Final = 1 << 24  # bytes of a source file
_SEEN_WITHIN: Final = 10.0  # seconds until a network file system shows a new file


def check_same(recipe: Recipe, data: Mapping[str, Any]) -> None:
    """Check that all workers have the same recipe, code and data.

    Args:
        recipe: This worker's recipe.
        data: Identity of this worker's data; see `identity_of_data`.
    Raises:
        ArgumentError: If the recipe or the code differs on some worker.
        DataError: If the data differ.
    """
    if place().world == 1:
        return
    backend = keras.backend.backend()
    facts = {
        **{f"recipe's {key}": value for key, value in recipe.plain().items()},
        "backend": f"{backend} {metadata.version(backend)}",
        "Keras": keras.__version__,
        "tailfit": tailfit.__version__,
        "source code of tailfit": _digest(Path(tailfit.__file__).parent.rglob("*.py")),
        **{f"source code of {name}": _digest(_files(module)) for name, module in recipe.modules.items()},
    }
    of_workers = exchange().documents([facts, dict(data)])
    first, first_data = of_workers[0]
    for rank, (own, own_data) in enumerate(of_workers):
        for key in sorted({*first, *own}):
            if own.get(key) != first.get(key):
                theirs, ours = _short(own.get(key)), _short(first.get(key))
                raise ArgumentError(
                    f"worker {rank} with the {key} {theirs}, and worker 0 with {ours}",
                    expected="the same recipe and code on all workers",
                    fix="install the same versions on all machines, and start all workers with the same command",
                )
        # Copies of the data on several machines may have different times.
        change = describe_change({**first_data, "times": ""}, {**own_data, "times": ""})
        if change:
            raise DataError(
                f"worker {rank}, whose data differ from those of worker 0: {change}",
                expected="the same data on all workers",
                fix="put the data on storage that all workers share, or copy them completely",
            )


def check_shared(directory: Path) -> None:
    """Check that all workers share the run's directory, in which rank 0 can write.

    Raises:
        ArgumentError: If a file that rank 0 writes does not appear for a worker.
    """
    me = place()
    if me.world == 1:
        return
    mark = directory / f"workers-{secrets.token_hex(8)}"
    if me.rank == 0:
        mark.touch()
    mark = directory / exchange().documents(mark.name)[0]
    try:
        together(lambda: _check_seen(mark, directory, me.rank))
    finally:
        if me.rank == 0:
            mark.unlink(missing_ok=True)


def _check_seen(mark: Path, directory: Path, rank: int) -> None:
    end = time.monotonic() + _SEEN_WITHIN
    while not mark.exists():
        if time.monotonic() > end:
            raise ArgumentError(
                f"worker {rank}, which does not see the files of worker 0 in {directory}",
                expected="a directory on storage that all workers share",
                fix="choose a directory on a shared file system (--out)",
            )
        time.sleep(0.2)
        if directory.is_dir():
            next(directory.iterdir(), None)  # makes a network file system look for new files


def _digest(files: Any) -> str:
    combined = hashlib.sha256()
    for file in sorted(files):
        combined.update(hashlib.sha256(read_whole(file, _MOST_CODE)).digest())
    return combined.hexdigest()[:12]


def _files(module: Any) -> list[Path]:
    file = getattr(module, "__file__", None)
    return [Path(file)] if file else []


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
