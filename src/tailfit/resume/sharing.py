"""The checkpoint that all workers of a training continue from: rank 0 finds it, the others read the same one."""

from collections.abc import Callable

from tailfit.errors import CheckpointError, RecordError, TailfitError
from tailfit.resume.saved import check_document, errors_name
from tailfit.resume.store import Checkpoint, Position, Store
from tailfit.training.workers import exchange

__all__ = ["on_all_workers"]


def on_all_workers(store: Store, found: Callable[[], Checkpoint | None]) -> Checkpoint | None:
    """Return the checkpoint that `found` returns on rank 0, which alone calls it.

    Raises:
        CheckpointError: On all workers, if there is an error on rank 0, or a worker has another directory.
    """
    workers = exchange()
    if workers.place.world == 1:
        return found()
    checkpoint, error = None, None
    if workers.place.rank == 0:
        try:
            checkpoint = found()
        except TailfitError as problem:
            error = problem
    position = None if checkpoint is None else list(checkpoint.position)
    described = None if error is None else [error.received, error.expected, error.fix]
    first = workers.documents({"position": position, "error": described})[0]
    if error is not None:
        raise error
    if first["error"] is not None:
        received, expected, fix = first["error"]
        raise CheckpointError(f"{received} (on rank 0)", expected=expected, fix=fix)
    if first["position"] is not None and workers.place.rank:
        checkpoint = _read(store, Position(*first["position"]))
    same = workers.documents((store.directory / "lock").exists() and _has(checkpoint, first))
    different = [rank for rank, is_same in enumerate(same) if not is_same]
    if different:
        raise CheckpointError(
            f"{store.directory}, which is another directory on the workers {', '.join(map(str, different))} than on "
            "rank 0",
            expected="one directory that all workers can read, such as a network file system",
            fix="pass Resume a directory on storage that all machines share",
        )
    return checkpoint


def _has(checkpoint: Checkpoint | None, first: dict[str, object]) -> bool:
    return checkpoint is not None or first["position"] is None


def _read(store: Store, position: Position) -> Checkpoint | None:
    try:
        checkpoint = store.read(position)
        with errors_name(store.directory / position.name):
            check_document(checkpoint)
    except (CheckpointError, RecordError, OSError):
        return None
    return checkpoint
