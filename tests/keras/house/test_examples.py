"""Every example runs, and gives the results that it describes.

The site runs all of them on JAX, once (`docs/gallery_pages.py`): an error there fails the build. Here they run on
PyTorch, the longer ones with the slow tests.
"""

import importlib
import os
import re
import runpy
import subprocess
import sys

import keras
import numpy as np
import pytest
from support.paths import ROOT

pytestmark = pytest.mark.mostly_on("torch")

EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def _pictures(monkeypatch):
    """Draw pictures into memory."""
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.setattr("matplotlib.pyplot.show", lambda: matplotlib.pyplot.close("all"))


def run(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_every_example_is_in_the_gallery():
    order = runpy.run_path(str(ROOT / "docs" / "gallery_pages.py"))["ORDER"]
    assert sorted(order) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


def test_custom_loss(capsys):
    histories = run("custom_loss")["histories"]
    assert set(histories) == {"custom_loss", "categorical_crossentropy", "tailfit.losses.Focal"}
    assert min(history["accuracy"][-1] for history in histories.values()) > 0.9
    assert "training accuracy" in capsys.readouterr().out


def test_custom_step(capsys):
    history = run("custom_step")["history"]
    assert history["val_balanced_accuracy"][-1] > 0.8
    assert len(history["gradient_norm"]) == 8
    assert "gradient_norm" in capsys.readouterr().out


def test_class_weights(capsys):
    without, with_weights = run("class_weights")["evaluations"].values()
    assert with_weights.classes[8].recall > without.classes[8].recall + 0.2
    assert "balanced" in capsys.readouterr().out


def test_sample_weights(capsys):
    # ok 1, valve leak 1.5, pump wear 3; site B with snr < 3 halves: samples 1, 4 and 7
    np.testing.assert_allclose(run("sample_weights")["weights"], [1, 0.5, 1.5, 1, 1.5, 1, 1.5, 0.5])
    assert "by condition" in capsys.readouterr().out


def test_npy_generator(capsys):
    found = run("npy_generator")
    assert found["history"]["val_accuracy"][-1] > 0.6
    assert all(sorted(epoch) == list(range(80)) for epoch in found["order"])
    assert "(16, 32, 4)" in capsys.readouterr().out  # the short last batch is short


def test_mnist_loop(capsys):
    found = run("mnist_loop")
    assert found["accuracy"] > 0.8
    assert found["losses"][-1] < found["losses"][0]
    assert "epoch 10" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch_loop", "jax_loop"])
def test_loops_of_a_backend(name):
    """They choose the backend themselves, so each runs in a process of its own."""
    command = [sys.executable, EXAMPLES / f"{name}.py"]
    done = subprocess.run(command, env={**os.environ, "MPLBACKEND": "agg"}, capture_output=True, text=True, check=True)
    (found,) = re.findall(r"balanced accuracy .*? (0\.\d+) \[", done.stdout)
    assert float(found) > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("name", ["root_causes", "long_tail_images"])
def test_remedies(name):
    plain, tailored = run(name)["evaluations"].values()
    assert tailored.balanced_accuracy > plain.balanced_accuracy + 0.05


@pytest.mark.slow
def test_multi_label():
    precision = {name: values.mean() for name, values in run("multi_label")["precision"].items()}
    assert precision["asymmetric"] > precision["binary cross-entropy"]


@pytest.mark.slow
def test_label_noise():
    found = run("label_noise")
    wrong = found["wrong"][~found["test"]]
    assert found["quality"][wrong].mean() < 0.5 * found["quality"][~wrong].mean()


@pytest.mark.slow
def test_two_stages():
    recalls = {name: np.mean(values) for name, values in run("two_stages")["recalls"].items()}
    assert recalls["retrain_classifier"] > recalls["first stage only"]


@pytest.mark.slow
def test_own_sampler():
    found = run("own_sampler")
    means = [found["difficulty"][indices].mean() for indices in found["drawn"]]
    assert means == sorted(means)
    np.testing.assert_allclose(found["batches"].class_counts.sum(), 1797)


@pytest.mark.slow
def test_oil_wells():
    assert run("oil_wells")["evaluation"].balanced_accuracy > 0.8


@pytest.mark.slow
def test_gan():
    drawn = run("gan")["drawn"]
    assert 0.1 < drawn.mean() < 0.6
    assert drawn.std(axis=0).mean() > 0.05  # not the same digit each time


@pytest.mark.slow
def test_mnist_loop_on_the_real_images(tmp_path, monkeypatch):
    file = os.environ.get("TAILFIT_MNIST")
    if file is None:
        pytest.skip("set TAILFIT_MNIST to a file with the images")
    with np.load(file) as parts:
        if "x_train" not in parts:
            np.savez(
                tmp_path / "mnist.npz", x_train=parts["X"][parts["is_train"]], y_train=parts["y"][parts["is_train"]]
            )
            file = tmp_path / "mnist.npz"
    monkeypatch.setenv("MNIST", str(file))
    assert run("mnist_loop")["accuracy"] > 0.95


def test_demo_is_reproducible_and_helps(tmp_path, monkeypatch, capsys):
    """A short form of `make demo`: few epochs, twice."""
    module = runpy.run_path(str(EXAMPLES / "demo.py"))
    monkeypatch.setitem(module["main"].__globals__, "EPOCHS", 6)
    first = module["main"](tmp_path / "a", seed=1)
    second = module["main"](tmp_path / "b", seed=1)
    assert first == second
    assert (tmp_path / "a" / "report.html").read_bytes() == (tmp_path / "b" / "report.html").read_bytes()
    assert first["tailored"].balanced_accuracy > first["plain fit"].balanced_accuracy
    out = capsys.readouterr().out
    assert "report.html" in out
    assert "balanced accuracy" in out.lower()
    model = keras.saving.load_model(tmp_path / "a" / "tailored.keras", custom_objects={"Tailored": module["Tailored"]})
    assert model.count_params() > 0


@pytest.mark.slow
def test_read_report(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    demo = importlib.import_module("demo")
    monkeypatch.setattr(demo, "EPOCHS", 6)
    plain, tailored = run("read_report")["evaluations"].values()
    assert tailored.balanced_accuracy > plain.balanced_accuracy


@pytest.mark.slow
def test_which_remedy(capsys):
    result = run("which_remedy")["result"]
    assert list(result.evaluations) == ["plain", "class weights", "logit-adjusted"]
    assert float(result.differences["logit-adjusted"]["balanced_accuracy"]) > 0
    printed = capsys.readouterr().out
    assert printed.startswith("Chosen: ")
    assert "Means of 3 seeds" in printed


def test_planted_leak(capsys):
    found = run("planted_leak")["found"]
    leaked, new = found["windows split"]
    assert leaked - new > 0.08
    assert not leaked.low <= float(new) <= leaked.high  # what it promises with 95 % confidence
    honest, of_honest = found["recordings split"]
    assert honest.low <= float(of_honest) <= honest.high
    assert "90 new recordings" in capsys.readouterr().out
