"""Exported files: the scores of the run from raw records, without tailfit; and what is refused."""

import errno
import importlib.util
import json
import os
import subprocess
import sys
import zipfile

import keras
import numpy as np
import polars as pl
import pytest
from keras import ops

import tailfit
from tailfit.cli import main
from tailfit.data import FillMissing
from tailfit.errors import ArgumentError, DataError, ExportError, PackageError, TailfitError
from tailfit.exporting import export, exports
from tailfit.exporting.converting import scores_of, write
from tailfit.exporting.exports import _checked
from tailfit.exporting.filling import filled
from tailfit.exporting.formats import backend_for
from tailfit.exporting.network import raw_network
from tailfit.recipes import train
from tailfit.recipes.trained import load_trained

pytestmark = pytest.mark.above_training

NAMES = ("leak", "ok", "stuck")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run on records with missing readings, with normalisation, a head of tailfit's own and a correction."""
    root = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.normal(np.eye(3)[y][:, None], size=(90, 6, 3)).astype("float32") * [1, 50, 0.1]
    x[rng.random(x.shape) < 0.2] = np.nan
    tailfit.data.save_npy_folder(root / "pumps", x.astype("float32"), np.array(NAMES)[y])
    data = {"path": str(root / "pumps"), "fill_missing": {"method": "forward", "mask": True}, "split": {}}
    recipe = {"data": data, "network": {"name": "cnn", "filters": [4]}, "epochs": 1, "loss": "LDAM"}
    train({**recipe, "correction": {"name": "LogitAdjustment", "tau": 0.7}}, root / "run")
    return root


@pytest.mark.parametrize("shape", [(5, 1, 2), (4, 7, 3), (3, 2, 8, 2)], ids=str)
@pytest.mark.parametrize("method", ["forward", "mean", "zero"])
def test_filling_is_that_of_numpy_to_the_bit(method, shape):
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape).astype("float32")
    x[rng.random(shape) < 0.6] = np.nan
    fill = FillMissing(method=method, mean=rng.normal(size=shape[-1]), mask=shape[1] == 7)
    found = ops.convert_to_numpy(filled(ops.convert_to_tensor(x), fill))
    np.testing.assert_array_equal(found, fill(x))


WITHOUT_KERAS = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
records = np.load(sys.argv[2])
np.save(sys.argv[3], session.run(["scores"], {"records": records})[0])
assert names == ["leak", "ok", "stuck"], names
assert not {"tailfit", "keras"} & set(sys.modules)
"""


@pytest.mark.on_each
def test_onnx_gives_the_scores_of_the_run_without_tailfit_and_keras(home, tmp_path):
    done = export(home / "run", tmp_path / "pumps.onnx")
    assert (done.format, done.samples, done.path.name) == ("onnx", 36, "pumps.onnx")
    assert done.difference < 1e-5
    assert done.recorded_difference < 1e-5
    assert os.listdir(tmp_path) == ["pumps.onnx"]
    known = pl.read_parquet(home / "run" / "predictions.parquet")
    np.save(tmp_path / "x.npy", np.stack([np.load(home / "pumps" / "data" / f"{id}.npy") for id in known["id"]]))
    command = [sys.executable, "-c", WITHOUT_KERAS, str(done.path), tmp_path / "x.npy", tmp_path / "y.npy"]
    subprocess.run(command, check=True)
    expected = known.select(f"score {name}" for name in NAMES).to_numpy()
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=0, atol=1e-5)


FORMATS = [
    "keras",
    pytest.param("torch", marks=pytest.mark.only_on("torch")),
    pytest.param("saved_model", marks=pytest.mark.only_on("tensorflow")),
    pytest.param(
        "onnx",
        marks=[
            pytest.mark.only_on("jax"),
            pytest.mark.skipif(importlib.util.find_spec("jax2onnx") is None, reason="jax2onnx is not installed"),
        ],
    ),
]


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_computes_the_scores_of_the_network(format, home, tmp_path):
    trained = load_trained(home / "run")
    path = tmp_path / ("model" + {"keras": ".keras", "onnx": ".onnx", "torch": ".pt2", "saved_model": ""}[format])
    x = np.random.default_rng(0).normal(size=(5, 6, 3)).astype("float32")
    x[0, :4, 1] = np.nan
    model = raw_network(trained)
    model(x[:1])
    write(model, format, path, {"class_names": NAMES})
    expected = trained.result.corrected(trained.model.predict(trained.result.fill(x), verbose=0))
    np.testing.assert_allclose(scores_of(path, format, x), expected, rtol=0, atol=1e-5)
    if format == "keras":
        config = zipfile.ZipFile(path).read("config.json").decode()
        assert "tailfit>" not in config
        assert "tailfit." not in config


def test_a_keras_file_without_tailfit(home, tmp_path):
    export(home / "run", tmp_path / "pumps.keras")
    code = (
        "import sys, zipfile, json, numpy as np, keras\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "assert np.isfinite(np.asarray(model.predict(np.full((2, 6, 3), np.nan, 'float32'), verbose=0))).all()\n"
        "assert json.loads(zipfile.ZipFile(sys.argv[1]).read('tailfit.json'))['class_names'][0] == 'leak'\n"
        "assert 'tailfit' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "pumps.keras"], check=True)


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.mark.mostly_on("torch")  # JAX has no ONNX here
def test_a_layer_of_the_user_is_refused_where_a_file_only_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")  # tf2onnx sets it; restored after the test
    inputs = keras.Input((3,), name="records")
    model = keras.Model(inputs, Doubled()(inputs))
    model(np.ones((1, 3), "float32"))
    with pytest.raises(ExportError, match=r"with .*Doubled.*Fix: export to onnx"):
        write(model, "keras", tmp_path / "a.keras", {})
    if keras.backend.backend() != "jax":
        write(model, "onnx", tmp_path / "a.onnx", {"class_names": NAMES})
        assert scores_of(tmp_path / "a.onnx", "onnx", np.ones((4, 3), "float32")).tolist() == [[2.0] * 3] * 4


def test_different_scores_are_an_error():
    assert _checked(np.ones((2, 3)) + 1e-6, np.ones((2, 3)), 1e-5, "the network") == pytest.approx(1e-6)
    assert _checked(np.full((2, 3), 1000.001), np.full((2, 3), 1000.0), 1e-5, "the network") < 1e-2
    for wrong in (np.ones((2, 3)) + 1e-3, np.full((2, 3), np.nan), np.ones((2, 2))):
        with pytest.raises(ExportError, match="scores differ from the network"):
            _checked(wrong, np.ones((2, 3)), 1e-5, "the network")


BAD = {
    "no run": (lambda home, out: export(out, out / "a.onnx"), DataError, "contains no result.json"),
    "an unknown format": (lambda home, out: export(home / "run", out / "a.h5"), ArgumentError, "a.h5: no format"),
    "no such format": (
        lambda home, out: export(home / "run", out / "a", format="xml"),
        ArgumentError,
        "format='xml'.*one of keras, onnx",
    ),
    "another ending": (
        lambda home, out: export(home / "run", out / "a.onnx", format="keras"),
        ArgumentError,
        "format='keras' for a.onnx",
    ),
    "no ending for Keras": (
        lambda home, out: export(home / "run", out / "a", format="keras"),
        ArgumentError,
        "a for the format keras",
    ),
    "an existing file": (
        lambda home, out: export(home / "run", written(out / "a.onnx")),
        ArgumentError,
        "a.onnx, which exists",
    ),
    "a file as folder": (
        lambda home, out: export(home / "run", written(out / "b") / "a.onnx"),
        TailfitError,
        "b: not a folder",
    ),
    "a backend that can't": (
        lambda home, out: export(home / "run", out / "a.pt2", backend="jax"),
        ArgumentError,
        "backend='jax' for the format torch",
    ),
    "data of another shape": (
        lambda home, out: export(home / "run", out / "a.onnx", data=tailfit.data.Arrays(np.ones((4, 2)))),
        DataError,
        r"records of shape \(2,\)",
    ),
    "no data": (
        lambda home, out: export(home / "run", out / "a.onnx", data=tailfit.data.Arrays(np.ones((0, 6, 3)))),
        DataError,
        "at least one record",
    ),
}


def written(path):
    path.write_text("precious")
    return path


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, home, tmp_path):
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call(home, tmp_path)
    assert set(os.listdir(tmp_path)) <= {"a.onnx", "b"}
    assert all((tmp_path / name).read_text() == "precious" for name in os.listdir(tmp_path))


def test_data_that_are_gone_or_changed(home, tmp_path):
    data = {"path": str(tmp_path / "pumps"), "split": {}}
    x = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
    tailfit.data.save_npy_folder(tmp_path / "pumps", x, np.array(NAMES)[np.arange(30) % 3])
    train({"data": data, "network": {"name": "mlp", "units": [2]}, "epochs": 1}, tmp_path / "run")
    np.save(tmp_path / "pumps" / "data" / "0.npy", x[0] + 1)
    with pytest.raises(DataError, match=r"data have changed since the training.*or pass --data"):
        export(tmp_path / "run", tmp_path / "a.keras")
    (tmp_path / "pumps").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"pumps.*or pass --data"):
        export(tmp_path / "run", tmp_path / "a.keras")
    assert not (tmp_path / "a.keras").exists()


@pytest.mark.parametrize("name", ["a.keras", "a"])
def test_a_full_disk_leaves_nothing(name, home, tmp_path, monkeypatch):
    def convert(job, backend):
        folder = exports.Path(job["folder"])
        target = folder / "written" / "model"
        target.parent.mkdir()
        if name == "a":
            target.mkdir()
            target /= "graph"
        target.write_bytes(b"x")
        for each in ("expected", "scores"):
            np.save(folder / each, np.zeros((2, 3)))
        return False

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(exports, "_written", convert)
    monkeypatch.setattr(exports, "backend_for", lambda format, preferred: preferred)
    monkeypatch.setattr("tailfit.storage.disk.Disk.sync", full)
    records = tailfit.data.Arrays(np.ones((1, 6, 3)))
    with pytest.raises(OSError, match="No space left"):
        export(home / "run", tmp_path / name, data=records)
    assert os.listdir(tmp_path) == []
    monkeypatch.undo()
    monkeypatch.setattr(exports, "_written", convert)
    monkeypatch.setattr(exports, "backend_for", lambda format, preferred: preferred)
    export(home / "run", tmp_path / name, data=records)
    assert os.listdir(tmp_path) == [name]


def test_missing_packages_name_what_to_install(monkeypatch):
    def only(*packages):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name in packages else None)

    only("jax")
    assert backend_for("keras", "jax") == "jax"
    with pytest.raises(PackageError, match=r"needs tensorflow.*the formats keras and onnx.*tailfit\[tensorflow\]"):
        backend_for("saved_model", "jax")
    with pytest.raises(PackageError, match=r"needs onnx\..*tailfit\[onnx-jax\]"):
        backend_for("onnx", "jax")
    only("jax", "onnx", "onnxruntime")
    with pytest.raises(PackageError, match=r"needs jax2onnx on jax"):
        backend_for("onnx", "jax")
    only("jax", "torch", "onnx", "onnxruntime", "onnxscript")
    assert (backend_for("onnx", "jax"), backend_for("torch", "jax")) == ("torch", "torch")
    only("jax", "jax2onnx", "torch", "onnx", "onnxruntime", "onnxscript")
    assert backend_for("onnx", "jax") == "jax"


def test_the_command(home, tmp_path, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["tailfit", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    monkeypatch.setattr(
        "tailfit.cli.exporting.export",
        lambda run, out, **options: exports.Exported(out, "onnx", "torch", 36, 3e-7, 4e-7),
    )
    assert run(home / "run", "--out", tmp_path / "a.onnx", "--json") == 0
    assert json.loads(capsys.readouterr().out)["recorded_difference"] == 4e-7
    assert run(home / "run", "--out", tmp_path / "a.onnx") == 0
    assert "scores differ by 4e-07 at most" in capsys.readouterr().out
    monkeypatch.undo()
    assert run(home / "run", "--out", tmp_path / "a.h5") == 2
    assert "Fix: name the file model.keras" in capsys.readouterr().err
