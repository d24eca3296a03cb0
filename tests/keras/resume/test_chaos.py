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


def test_a_run_killed_several_times_ends_like_an_uninterrupted_one(tmp_path, backend):
    server, tally = chaos.Server(backend), chaos.Tally()
    try:
        whole = chaos.UninterruptedRuns(server, tmp_path)
        end, seconds = whole("own_step", "tailfit")
        kills = [{"step": 3}, {"disk": 17}, {"after": 0.5 * seconds}]
        folder = tmp_path / "run"
        folder.mkdir()
        for kill in kills:
            answer = server.life(folder, "own_step", 1, kill)
            assert answer["error"] is None
            assert answer["killed"] or "after" in kill  # a timed kill may come too late
        answer = server.life(folder, "own_step", 1, {})
        assert answer == {"killed": False, "seconds": answer["seconds"], "error": None}
        assert not chaos.differs(end, chaos.loaded(folder), tally, "own_step"), tally.notes
    finally:
        server.close()


def test_differences_are_detected(tmp_path, backend):
    """In one bit of one number, or in one entry of the history."""
    import numpy as np

    tally = chaos.Tally()
    one = ({"weight 0": np.array([1.0, 2.0])}, "history")
    assert not chaos.differs(one, ({"weight 0": np.array([1.0, 2.0])}, "history"), tally, "run")
    assert chaos.differs(one, ({"weight 0": np.array([1.0, np.nextafter(2, 3)])}, "history"), tally, "run")
    assert chaos.differs(one, ({"weight 0": np.array([1.0, 2.0])}, "other"), tally, "run")
    assert chaos.differs(one, ({}, "history"), tally, "run")
