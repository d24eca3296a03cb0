"""The command line: exit codes, messages, and that the backend is chosen before Keras is imported."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tailfit
from tailfit.cli.backends import Backend, choose_backend
from tailfit.errors import ArgumentError

ROOT = Path(__file__).parents[2]


def tailfit_command(*arguments, **environment):
    command = [sys.executable, "-c", "from tailfit.cli import main; main()", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=240
    )


def test_version():
    done = tailfit_command("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"tailfit {tailfit.__version__}")


def test_help_names_the_commands():
    done = tailfit_command("--help")
    assert done.returncode == 0
    assert "demo" in done.stdout


@pytest.mark.parametrize("arguments", [["demo", "--backend", "theano"], ["demo", "--seed", "-1"], ["nothing"]])
def test_bad_input_ends_with_2(arguments):
    done = tailfit_command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_error_of_ours_is_one_clear_message(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "thesis.txt").write_text("precious")
    done = tailfit_command("demo", "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("tailfit: Received ")
    assert "thesis" not in "".join(os.listdir(tmp_path))
    assert (tmp_path / "records" / "thesis.txt").read_text() == "precious"


def test_a_folder_that_can_not_be_written_is_one_clear_message(tmp_path):
    (tmp_path / "file").write_text("")
    done = tailfit_command("demo", "--out", str(tmp_path / "file" / "out"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Not a directory" in done.stderr.splitlines()[-1]


def test_the_backend_asked_for_runs(tmp_path, backend):
    """`--backend` wins over the environment; the demo's short form is in test_examples."""
    code = (
        "import sys; from tailfit.cli.backends import Backend, choose_backend; "
        f"choose_backend(Backend({backend!r})); import keras; print(keras.backend.backend())"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith(backend)


def test_a_backend_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "torch" else None)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ArgumentError, match=r"the backend jax.*installed one: torch.*tailfit\[jax\]"):
        choose_backend(Backend.JAX)
    monkeypatch.delenv("KERAS_BACKEND")
    assert choose_backend(None) == "torch"
    monkeypatch.delenv("KERAS_BACKEND")  # choosing set it
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="no Keras backend installed"):
        choose_backend(None)


@pytest.mark.slow
def test_the_wheel_carries_the_demo_and_the_page(tmp_path):
    pytest.importorskip("hatchling")
    build = "from hatchling.builders.wheel import WheelBuilder; print(next(WheelBuilder('.').build(directory=r'{}')))"
    done = subprocess.run(
        [sys.executable, "-c", build.format(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = zipfile.ZipFile(done.stdout.split()[-1]).namelist()
    assert "tailfit/_examples/demo.py" in names
    assert "tailfit/py.typed" in names
    assert "tailfit/evaluation/templates/report.html.j2" in names
