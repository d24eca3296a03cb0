"""JAX: compiled programs kept in a folder, so that models and processes share them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import jax
from jax.experimental.compilation_cache import compilation_cache

__all__ = ["programs_kept_in"]

_ALL: Final[dict[str, Any]] = {  # by default, JAX keeps only programs that take over a second to compile
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": -1,
}
_config: Any = jax.config


@contextmanager
def programs_kept_in(folder: str) -> Iterator[None]:
    """Keep all programs that are compiled in the context; a folder that the user has chosen for JAX is left as it is.

    A program from the folder is the compiled code itself, so results are the same to the bit.
    """
    if _config.jax_compilation_cache_dir is not None or not _config.jax_enable_compilation_cache:
        yield
        return
    before = {name: getattr(_config, name) for name in _ALL}
    _configure({"jax_compilation_cache_dir": folder, **_ALL})
    try:
        with warnings.catch_warnings():
            # Another process may be writing the file, or the disk may be full. JAX then compiles the program.
            warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
            yield
    finally:
        _configure({"jax_compilation_cache_dir": None, **before})


def _configure(values: dict[str, Any]) -> None:
    for name, value in values.items():
        _config.update(name, value)
    compilation_cache.reset_cache()  # JAX reads the folder's name once only
