"""Ray: the same bytes as in one process, also if tasks are killed; and its errors. Needs tailfit[ray], and minutes."""

import importlib.util
import os
import time
from pathlib import Path

import numpy as np
import pytest
from support.comparisons import files

import tailfit
from tailfit import recipes
from tailfit.errors import WorkerError
from tailfit.ray_cluster import check_shared, connected

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of Ray's own use of itself
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs tailfit[ray]"),
]

RECIPE = {
    "data": {"path": "pumps", "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "network": {"name": "mlp", "units": [4], "dropout": 0.3},
    "epochs": 2,
    "batch_size": 16,
}
FUNCTIONS = """
import os, pathlib, signal, time

def once(batch, rng, flag):
    if pathlib.Path(flag).exists():
        pathlib.Path(flag).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return batch

def kill_rank_1(batch, rng, flag):
    return once(batch, rng, flag) if os.environ.get("RANK") == "1" else batch

def slow(batch, rng):
    time.sleep(0.5)
    return batch
"""
TRAINED = ("weights.safetensors", "history.csv", "evaluation.json", "predictions.parquet")


@pytest.fixture
def pumps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3 % 2
    x = rng.normal(2.0 * y[:, None], size=(60, 3)).astype("float32")
    tailfit.data.save_npy_folder("pumps", x, np.array(["ok", "leak"])[y])
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    before = dict(os.environ)
    yield tmp_path
    os.environ.clear()  # Ray sets variables when it is imported
    os.environ.update(before)


def listening():
    """Addresses on which processes of this machine listen, in the kernel's hexadecimal form."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == "0A"}


LOOPBACK = ("0100007F:", "0000000000000000FFFF00000100007F:", "00000000000000000000000001000000:")


def test_a_comparison_with_a_killed_task_ends_with_the_bytes_of_one_process(pumps):
    (pumps / "flag").touch()
    before = listening()
    vary = {
        "plain": {},
        "killed": {"transform": {"function": "functions:once", "options": {"flag": str(pumps / "flag")}}},
    }
    with connected("local") as cluster:
        check_shared(cluster, pumps)
        addresses = listening() - before
        assert addresses
        assert [each for each in addresses if not each.startswith(LOOPBACK)] == []
        on_ray = tailfit.compare(RECIPE, vary, 2, directory="ray", ray="local", modules=["functions.py"])
    assert not (pumps / "flag").exists()
    assert on_ray == tailfit.compare(RECIPE, vary, 2, directory="one", modules=["functions.py"])
    one, other = files(pumps / "one"), files(pumps / "ray")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def test_no_cluster_at_the_address_is_an_error_within_30_seconds(pumps):
    with pytest.raises(WorkerError, match=r"ray='127.0.0.1:1'.*a running Ray cluster"):
        tailfit.compare(RECIPE, {"a": {}, "b": {"loss": "Focal"}}, 2, directory="out", ray="127.0.0.1:1")
    for address in ("127.0.0.1:1", "auto"):
        began = time.monotonic()
        with pytest.raises(WorkerError, match=rf"ray='{address}'.*a running Ray cluster"), connected(address):
            pass
        assert time.monotonic() - began < 30


def trained(folder):
    return {name: (folder / name).read_bytes() for name in TRAINED}


def recipe_with(function, **options):
    transform = {"function": f"functions:{function}", "options": options}
    return {**RECIPE, "epochs": 6, "parts": 2, "transform": transform}


def test_a_training_of_which_a_worker_is_killed_ends_with_the_bytes_of_one_process(pumps):
    (pumps / "flag").touch()
    recipe, modules = recipe_with("kill_rank_1", flag=str(pumps / "flag")), ["functions.py"]
    tailfit.distributed.train(recipe, "ray", workers=2, ray="local", modules=modules)
    assert not (pumps / "flag").exists()
    recipes.train(recipe, "one", modules=modules)
    assert trained(pumps / "ray") == trained(pumps / "one")


def test_a_training_that_loses_a_node_goes_on_with_fewer_workers(pumps):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100_000_000}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second, worlds = cluster.add_node(**node), []

    def removed_after_an_epoch(epoch, figures):
        if not worlds:
            cluster.remove_node(second, allow_graceful=False)
        worlds.append(epoch)

    try:
        recipe, modules = recipe_with("slow"), ["functions.py"]
        tailfit.distributed.train(
            recipe, "ray", workers=2, ray=cluster.address, modules=modules, progress=removed_after_an_epoch
        )
    finally:
        cluster.shutdown()
    assert worlds[0] < worlds[-1] == 6
    recipes.train(recipe, "one", modules=modules)
    assert trained(pumps / "ray") == trained(pumps / "one")
