"""Marks of tests that need not run on every backend."""

import keras
import pytest

ON_TORCH = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the same code on every backend; torch compiles least"
)
