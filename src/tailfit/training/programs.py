"""Compiled programs, kept for several runs of the same networks.

On JAX, most of the time of a short training is compilation, and every model is compiled anew, although those that
differ in the seed alone have the same programs. TensorFlow and torch have nothing to keep.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import keras

__all__ = ["keep_programs", "program_folder"]

_PREFIX: Final = ".programs-"


@contextmanager
def program_folder(parent: Path) -> Iterator[Path | None]:
    """Create a folder for compiled programs, which is removed at the end; None on backends that keep none.

    Programs are code. Therefore the folder is new, has an unguessable name, and belongs to this user alone (mode 0700):
    no program is loaded that was not compiled by this command. Folders that killed processes have left are removed.

    Args:
        parent: An existing directory, locked by this process.
    """
    for left in parent.glob(f"{_PREFIX}*"):
        _remove(left)
    if keras.backend.backend() != "jax":
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        yield folder
    finally:
        _remove(folder)


@contextmanager
def keep_programs(folder: Path | str | None) -> Iterator[None]:
    """Keep programs that are compiled in the context in a folder, and take from it those that are there."""
    if folder is None:
        yield
        return
    from tailfit.training.backends.jax_cache import programs_kept_in

    with programs_kept_in(str(folder)):
        yield


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
