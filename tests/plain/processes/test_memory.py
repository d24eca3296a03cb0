"""Freed memory is kept by the process: no new pages for arrays that are allocated again."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
import tailfit
changed = tailfit.keep_memory() if "keep" in sys.argv else None

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(3_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

np.ones(3_000_000)
print(changed, pages())
"""

glibc = sys.platform == "linux" and os.confstr("CS_GNU_LIBC_VERSION")


def run(*arguments, **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    command = [sys.executable, "-c", SCRIPT, *arguments]
    ended = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True)
    changed, pages = ended.stdout.split()
    return changed, int(pages)


@pytest.mark.skipif(not glibc, reason="another C library")
def test_arrays_that_are_allocated_again_need_no_new_pages():
    _, new = run()
    changed, kept = run("keep")
    assert changed == "True"
    assert kept < new / 5, f"{kept} pages, and {new} without"


@pytest.mark.parametrize(
    "environment", [{"MALLOC_TRIM_THRESHOLD_": "1000000"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1000000"}]
)
def test_settings_in_the_environment_have_precedence(environment):
    assert run("keep", **environment)[0] == "False"


def test_elsewhere_nothing_happens(monkeypatch):
    from tailfit.memory import keep_memory

    monkeypatch.setattr(os, "confstr", lambda name: None, raising=False)
    assert keep_memory() is False
