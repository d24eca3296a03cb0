"""The identity of a recipe's data: which changes are detected, and which are ignored."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tailfit.recipes import data_identity
from tailfit.recipes.data_identity import describe_change, identity_of_data


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "pumps" / "data").mkdir(parents=True)
    for name in range(200):
        (tmp_path / "pumps" / "data" / f"{name:03d}.npy").write_bytes(bytes(1000))
    (tmp_path / "pumps" / "labels.csv").write_text("ID,label\n")
    (tmp_path / "parts.json").write_text("{}")
    data = SimpleNamespace(path="pumps", partition="parts.json", options={"label": "cause"})
    return SimpleNamespace(folder=tmp_path, data=data)


def written(path, content):
    """Write a file without changing its modification time."""
    before = path.stat() if path.exists() else None
    path.write_bytes(content)
    if before is not None:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "a record of the same size and time": lambda root: written(root / "pumps/data/117.npy", bytes(999) + b"1"),
    "a label": lambda root: written(root / "pumps/labels.csv", b"ID,cause\n"),
    "a partition elsewhere": lambda root: written(root / "parts.json", b"[]"),
    "one record more": lambda root: written(root / "pumps/data/200.npy", b"1"),
    "one record less": lambda root: (root / "pumps/data/117.npy").unlink(),
    "another name": lambda root: (root / "pumps/data/117.npy").rename(root / "pumps/data/117b.npy"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_detected(change, recipe):
    before = identity_of_data(recipe)
    CHANGES[change](recipe.folder)
    assert describe_change(before, identity_of_data(recipe))


def test_unchanged_data(recipe):
    """Copied data, and data with runs and report pages among them."""
    before = identity_of_data(recipe)
    os.utime(recipe.folder / "pumps/data/117.npy", ns=(1, 1))
    (recipe.folder / "pumps" / "report.html").write_text("")
    (recipe.folder / "pumps" / ".hidden").write_text("")
    (recipe.folder / "pumps" / "runs" / "one").mkdir(parents=True)
    (recipe.folder / "pumps" / "runs" / "one" / "run.json").write_text("{}")
    (recipe.folder / "pumps" / "around").symlink_to(recipe.folder / "pumps")
    assert describe_change(before, identity_of_data(recipe)) == ""


def test_large_data_are_compared_by_size_time_and_sample_unless_verified(recipe, monkeypatch):
    monkeypatch.setattr(data_identity, "_ALWAYS_READ", 0)
    quick, whole = identity_of_data(recipe), identity_of_data(recipe, verify=True)
    assert quick["contents"] is None
    written(recipe.folder / "pumps/data/000.npy", b"1" + bytes(999))  # the first piece of the sample
    assert describe_change(quick, identity_of_data(recipe)) == "different contents"
    written(recipe.folder / "pumps/data/000.npy", bytes(1000))
    assert describe_change(quick, identity_of_data(recipe)) == ""
    os.utime(recipe.folder / "pumps/data/117.npy", ns=(1, 1))
    assert describe_change(quick, identity_of_data(recipe)) == "different modification times"
    assert describe_change(whole, identity_of_data(recipe, verify=True)) == ""


def test_a_url_is_its_own_identity():
    recipe = SimpleNamespace(data=SimpleNamespace(path="https://example.com/x.parquet"))
    assert describe_change(identity_of_data(recipe), identity_of_data(recipe)) == ""
    assert describe_change(identity_of_data(recipe), {"count": 1})


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM ends a process immediately on Windows")
def test_sigterm_removes_half_written_files(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from tailfit.storage.writing import write_parts
from tailfit.resume.signals import exit_on_sigterm
def parts():
    yield b"half"
    os.kill(os.getpid(), signal.SIGTERM)
    yield b"whole"
with exit_on_sigterm():
    write_parts(Path(sys.argv[1], "weights.safetensors"), parts())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, timeout=60)
    assert done.returncode == 128 + signal.SIGTERM
    assert list(Path(tmp_path).iterdir()) == []
