"""Compilation with few optimisations: a test runs its programs a few times, and compiling takes most of its time."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import pytest


@contextmanager
def quickly() -> Iterator[None]:
    """Compile without XLA on TensorFlow and without expensive optimisations on JAX, also in child processes."""
    backend = keras.backend.backend()
    with pytest.MonkeyPatch.context() as patch:
        if backend == "jax":
            import jax
            from jax._src import compiler

            jax.config.update("jax_disable_most_optimizations", True)
            patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
            if _legacy_fusion():
                patch.setattr(compiler, "get_compile_options", _with(compiler.get_compile_options, LEGACY_FUSION))
                flags = [f"--{name}={str(value).lower()}" for name, value in LEGACY_FUSION.items()]
                patch.setenv("XLA_FLAGS", " ".join([*os.environ.get("XLA_FLAGS", "").split(), *flags]))
        elif backend == "tensorflow":
            patch.setattr(keras.src.trainers.trainer, "model_supports_jit", lambda model: False)
        try:
            yield
        finally:
            if backend == "jax":
                jax.config.update("jax_disable_most_optimizations", False)


@contextmanager
def own_programs() -> Iterator[None]:
    """Keep compiled programs where tailfit keeps them, not where the suite does."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    folder = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    try:
        yield
    finally:
        jax.config.update("jax_compilation_cache_dir", folder)


# XLA has two compilers of fused operations on a CPU; the older one compiles twice as fast.
LEGACY_FUSION = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def _legacy_fusion() -> bool:
    """Return whether this version of JAX knows the option, and computes on a CPU."""
    import jax

    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x + 1, compiler_options=LEGACY_FUSION)(1.0)
    except Exception:  # another class in each version
        return False
    return True


def _with(original: Any, options: dict[str, Any]) -> Any:
    def get_compile_options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **keywords: Any) -> Any:
        return original(*args, env_options_overrides={**options, **(env_options_overrides or {})}, **keywords)

    return get_compile_options
