"""A public name, parameter or default does not change unnoticed."""

import difflib

import keras
import pytest
from support import public_api
from support.paths import ROOT


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="one backend is enough: the names are the same on all")
def test_public_names_and_parameters_are_those_of_the_file():
    kept = (ROOT / "tests" / "public-api.txt").read_text(encoding="utf-8").splitlines()
    changes = [line for line in difflib.ndiff(kept, public_api.lines()) if line.startswith(("- ", "+ "))]
    assert not changes, "\n".join(["write them to tests/public-api.txt and CHANGELOG.md:", *changes])
