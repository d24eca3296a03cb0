"""TensorBoard and MLflow: what is logged, that a resumed run goes on in the same log, and failures of the log."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import tailfit
from tailfit.callbacks import MLflow, Resume, TensorBoard
from tailfit.errors import ArgumentError, PackageError
from tailfit.recipes import train
from tailfit.text import TailfitWarning

pytestmark = pytest.mark.above_training

tensorboardx = pytest.importorskip("tensorboardX")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # as the callback does, but before any test
mlflow = pytest.importorskip("mlflow")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Address of a store of MLflow in files."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def events(folder):
    """Return (tag, step, value) of all scalars in event files as TensorBoard shows them: purged steps are dropped."""
    found = []
    for path in sorted(Path(folder).glob("events.*"), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            size = int.from_bytes(content[:8], "little")
            event = tensorboardx.proto.event_pb2.Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            if event.HasField("session_log"):
                found = [each for each in found if each[1] < event.step]
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value if value.tag]
    return found


class StoppedError(Exception):
    """Stops a training in the middle."""


class StopIn(keras.callbacks.Callback):
    """Stops the training in an epoch, after the loggers have logged it."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise StoppedError


def fit(directory, loggers, *, stop=None, epochs=4):
    keras.utils.set_random_seed(1)
    model = tailfit.Model(inputs := keras.Input((2,)), keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.25), "mse")
    x = np.arange(16, dtype="float32").reshape(8, 2) / 16
    batches = tailfit.Batches(tailfit.data.Arrays(x, [0, 1] * 4), batch_size=4)
    # The state of StopIn does not change; Resume compares the names of callbacks, so it is always there.
    callbacks = [*loggers, StopIn(stop), Resume(directory, save_freq="epoch")]
    return model.fit(batches, epochs=epochs, validation_data=batches, callbacks=callbacks, verbose=0).history


def test_a_resumed_run_goes_on_in_the_same_log(store, tmp_path):
    def loggers():
        return [
            TensorBoard(tmp_path / "tb", recipe={"a": 1}),
            MLflow(store, recipe={"loss": {"name": "mse", "x": None}}),
        ]

    with pytest.raises(StoppedError):
        fit(tmp_path / "run", loggers(), stop=2)
    client = mlflow.MlflowClient(store)
    (experiment,) = [each for each in client.search_experiments() if each.name == "tailfit"]
    (stopped,) = client.search_runs([experiment.experiment_id])
    assert stopped.info.status == "FAILED"
    history = fit(tmp_path / "run", loggers())
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status) == (stopped.info.run_id, "FINISHED")
    assert run.data.params == {"loss.name": "mse"}
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert [each.step for each in losses] == [0, 1, 2, 3]
    np.testing.assert_allclose([each.value for each in losses], history["loss"], rtol=1e-6)
    assert {each.path for each in client.list_artifacts(run.info.run_id)} == {"environment.json", "recipe.json"}
    shown = events(tmp_path / "tb" / "train")
    assert [step for tag, step, _ in shown if tag == "epoch_loss"] == [0, 1, 2, 3]
    np.testing.assert_allclose([value for tag, _, value in shown if tag == "epoch_loss"], history["loss"], rtol=1e-6)
    assert {value for tag, _, value in shown if tag == "epoch_learning_rate"} == {0.25}
    validation = [value for tag, _, value in events(tmp_path / "tb" / "validation") if tag == "epoch_loss"]
    np.testing.assert_allclose(validation, history["val_loss"], rtol=1e-6)


def test_recipes_name_loggers_and_callbacks(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    x = np.arange(40, dtype="float32").reshape(20, 2)
    tailfit.data.save_npy_folder(tmp_path / "pumps", x, ["ok", "leak"] * 10)
    recipe = {
        "data": {"path": str(tmp_path / "pumps")},
        "network": {"name": "mlp", "units": [2]},
        "epochs": 3,
        "optimizer": {"name": "SGD", "learning_rate": 0.25},
        "log": ["tensorboard", "mlflow"],
        "callbacks": [{"name": "ReduceLROnPlateau", "patience": 0, "monitor": "loss", "min_delta": 100.0}],
    }
    run = train(recipe, tmp_path / "run")
    assert run.history["learning_rate"][-1] < 0.25
    client = mlflow.MlflowClient(store)
    (logged,) = client.search_runs([client.get_experiment_by_name("tailfit").experiment_id])
    assert logged.data.metrics["test_balanced_accuracy"] == pytest.approx(float(run.evaluation.balanced_accuracy))
    assert logged.data.params["network.name"] == "mlp"
    assert "report.html" in {each.path for each in client.list_artifacts(logged.info.run_id)}
    tags = {tag for tag, _, _ in events(tmp_path / "run" / "tensorboard" / "evaluation")}
    assert "test_balanced_accuracy" in tags
    assert train(recipe, tmp_path / "run").evaluation == run.evaluation


def test_a_log_that_fails_is_a_warning(store, tmp_path):
    logger, board = MLflow(store), TensorBoard(tmp_path / "tb")

    class Lost(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            shutil.rmtree(tmp_path / "mlruns", ignore_errors=True)
            (tmp_path / "mlruns").touch()
            (tmp_path / "tb").touch()

    model = tailfit.Model(inputs := keras.Input((2,)), keras.layers.Dense(1)(inputs))
    model.compile("sgd", "mse")
    with pytest.warns(TailfitWarning, match="failed, and training continues"):
        history = model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[Lost(), logger, board], verbose=0)
    assert len(history.history["loss"]) == 1


BAD = {
    "a directory that is a number": (lambda: TensorBoard(3), ArgumentError, "directory=3"),
    "a recipe of text": (lambda: TensorBoard("x", recipe="a"), ArgumentError, "recipe='a'"),
    "an address that is a number": (lambda: MLflow(3), ArgumentError, "tracking_uri=3"),
    "an experiment without a name": (lambda: MLflow(experiment=""), ArgumentError, "experiment=''"),
    "a recipe that is a list": (lambda: MLflow(recipe=[1]), ArgumentError, "recipe="),
    "an unknown store": (lambda: fit("x", [MLflow("nowhere://x")]), ArgumentError, "nowhere://x"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        call()


def test_the_telemetry_of_mlflow_is_off_unless_it_was_set(monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    MLflow()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    MLflow()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_a_missing_package_is_named(monkeypatch):
    for name, extra, make in (("tensorboardX", "tensorboard", lambda: TensorBoard("x")), ("mlflow", "mlflow", MLflow)):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(PackageError, match=rf"pip install 'tailfit\[{extra}\]'"):
            make()


@pytest.mark.slow
def test_a_server_of_mlflow(tmp_path):
    """Needs `mlflow` on the path, or in `$TAILFIT_MLFLOW`: the package mlflow-skinny has no server."""
    program = os.environ.get("TAILFIT_MLFLOW") or shutil.which("mlflow")
    check = program and subprocess.run([program, "server", "--help"], capture_output=True, check=False, timeout=120)
    if not program or check.returncode:
        pytest.skip("no program mlflow with a server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path / "art"),
    ]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    with (
        (tmp_path / "server.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as server,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(120):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(1)
            with pytest.raises(StoppedError):
                fit(tmp_path / "run", [MLflow(address, experiment="faults", recipe={"a": {"b": 1}})], stop=1)
            logger = MLflow(address, experiment="faults", recipe={"a": {"b": 1}})
            fit(tmp_path / "run", [logger])
            (tmp_path / "report.html").write_text("<p>done")
            logger.log_results({"accuracy": 0.5}, tmp_path / "report.html")
            client = mlflow.MlflowClient(address)
            (run,) = client.search_runs([client.get_experiment_by_name("faults").experiment_id])
            assert (run.info.status, run.data.params, run.data.metrics["test_accuracy"]) == (
                "FINISHED",
                {"a.b": "1"},
                0.5,
            )
            assert [each.step for each in client.get_metric_history(run.info.run_id, "val_loss")] == [0, 1, 2, 3]
            assert "report.html" in {each.path for each in client.list_artifacts(run.info.run_id)}
        finally:
            server.terminate()
            server.wait(60)
