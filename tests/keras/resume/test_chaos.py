"""The short form of `make chaos`: real SIGKILLs, by clock, step and disk, in forks of a process of this backend."""

import os
import sys

import keras
import pytest
from support.paths import ROOT

sys.path.append(str(ROOT / "tests" / "chaos"))

import chaos

pytestmark = [
    pytest.mark.mostly_on("torch"),  # each of five lives compiles its step anew
    pytest.mark.skipif(not hasattr(os, "fork") or not hasattr(os, "pidfd_open"), reason="needs Linux"),
]
if keras.backend.backend() == "torch":
    import torch

    # The campaign forks a process that has the backend loaded.
    pytestmark.append(pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA does not survive a fork"))


def test_a_run_killed_again_and_again_ends_as_if_it_never_was(tmp_path, backend):
    server, tally = chaos.Server(backend), chaos.Tally()
    try:
        whole = chaos.Whole(server, tmp_path)
        end, seconds = whole("own_step", "tailfit")
        kills = [{"step": 3}, {"disk": 17}, {"after": 0.5 * seconds}]
        folder = tmp_path / "run"
        folder.mkdir()
        for kill in kills:
            told = server.life(folder, "own_step", 1, kill)
            assert told["error"] is None
            assert told["killed"] or "after" in kill  # by the clock it may come too late
        told = server.life(folder, "own_step", 1, {})
        assert told == {"killed": False, "seconds": told["seconds"], "error": None}
        assert not chaos.differs(end, chaos.loaded(folder), tally, "own_step"), tally.notes
    finally:
        server.close()


def test_a_difference_would_be_seen(tmp_path, backend):
    """The comparison itself: one bit of one number, one entry of the history."""
    import numpy as np

    tally = chaos.Tally()
    one = ({"weight 0": np.array([1.0, 2.0])}, "history")
    assert not chaos.differs(one, ({"weight 0": np.array([1.0, 2.0])}, "history"), tally, "run")
    assert chaos.differs(one, ({"weight 0": np.array([1.0, np.nextafter(2, 3)])}, "history"), tally, "run")
    assert chaos.differs(one, ({"weight 0": np.array([1.0, 2.0])}, "other"), tally, "run")
    assert chaos.differs(one, ({}, "history"), tally, "run")
