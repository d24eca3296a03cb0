"""The command line: exit codes, messages, and that the backend is chosen before Keras is imported."""

import gc
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from functools import partial
from importlib.metadata import version

import numpy as np
import pytest
from support.paths import ROOT

import tailfit
from tailfit.cli import main
from tailfit.cli.backends import Backend, _without_startup_messages, choose_backend
from tailfit.cli.importing import imports_uncollected
from tailfit.errors import ArgumentError

pytestmark = pytest.mark.above_training

COMMANDS = [
    "demo",
    "inspect",
    "init",
    "pack",
    "train",
    "evaluate",
    "predict",
    "export",
    "compare",
    "suspects",
    "report",
    "runs",
    "doctor",
    "shell-completion",
    "recipe",
]


def tailfit_command(*arguments, **environment):
    command = [sys.executable, "-c", "from tailfit.cli import main; main()", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=240
    )


def test_version():
    done = tailfit_command("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"tailfit {tailfit.__version__}")


def test_help_names_the_commands_and_imports_no_formatter():
    code = "import sys\nfrom tailfit.cli import main\ntry: main()\nfinally: print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    commands, modules = done.stdout.split("['", 1)
    assert re.findall(r"^  ([\w-]+)  ", commands.split("Commands:")[1], re.MULTILINE) == COMMANDS
    # `tailfit --help` takes 0.2 s; each of these would double it.
    assert not {"keras", "numpy", "polars", "rich.markdown"} & set(modules.replace("'", "").split(", "))


@pytest.mark.parametrize("arguments", [["demo", "--backend", "theano"], ["demo", "--seed", "-1"], ["nothing"]])
def test_invalid_arguments_exit_with_2(arguments):
    done = tailfit_command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_error_is_one_message(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "thesis.txt").write_text("precious")
    done = tailfit_command("demo", "--out", str(tmp_path))
    assert done.returncode == 2
    received, expected, fix = done.stderr.splitlines()[-3:]
    assert received.startswith("tailfit: Received ")
    assert (expected.split()[0], fix.split()[0]) == ("Expected", "Fix:")
    assert "thesis" not in "".join(os.listdir(tmp_path))
    assert (tmp_path / "records" / "thesis.txt").read_text() == "precious"


def test_a_folder_without_write_access_is_one_message(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    assert command("demo", "--out", tmp_path / "file" / "out", monkeypatch=monkeypatch) == 1
    received, expected, fix = capsys.readouterr().err.splitlines()[-3:]
    assert "file" in received
    assert "Not a directory" in received
    assert (expected, fix) == ("Expected a folder.", "Fix: choose a different path.")


@pytest.mark.on_each
def test_the_requested_backend_is_used(tmp_path, backend):
    """`--backend` takes precedence over the environment."""
    code = (
        "import sys; from tailfit.cli.backends import Backend, choose_backend; "
        f"choose_backend(Backend({backend!r})); import keras; print(keras.backend.backend())"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith(backend)


def test_only_startup_messages_are_hidden(capfd):
    with _without_startup_messages():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
        os.write(2, b"I0000 00:00:1795 port.cc:153] oneDNN custom operations are on.\nno such file: libcuda.so\n")
    assert capfd.readouterr().err == "no such file: libcuda.so\n"
    os.write(2, b"I0000 after\n")
    assert capfd.readouterr().err == "I0000 after\n"


def test_a_backend_that_is_not_installed_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "torch" else None)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ArgumentError, match=r"the backend jax.*installed one: torch.*tailfit\[jax\]"):
        choose_backend(Backend.JAX)
    monkeypatch.delenv("KERAS_BACKEND")
    assert choose_backend(None) == "torch"
    monkeypatch.delenv("KERAS_BACKEND")  # choose_backend has set it
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match="no Keras backend installed"):
        choose_backend(None)


def test_debug_shows_the_traceback_and_faults_are_short_without(tmp_path, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise KeyError("\x1b[2Jno such thing")

    monkeypatch.setattr("tailfit.recipes.listing.list_runs", broken)
    monkeypatch.setattr("tailfit.cli.runs.list_runs", broken, raising=False)
    assert command("runs", tmp_path, monkeypatch=monkeypatch) == 1
    short = capsys.readouterr().err
    assert short.splitlines()[0].startswith("tailfit: KeyError: ")
    assert "Traceback" not in short
    assert "\x1b" not in short
    for arguments in (["--debug", "runs", tmp_path], ["runs", tmp_path, "--debug"]):
        assert command(*arguments, monkeypatch=monkeypatch) == 1
        assert "Traceback" in capsys.readouterr().err


def test_shells_complete_commands():
    done = tailfit_command("shell-completion", "bash")
    assert (done.returncode, "complete -o default -F" in done.stdout) == (0, True)
    code = "import sys; sys.argv[0] = 'tailfit'; from tailfit.cli import main; main()"
    environment = {"_TAILFIT_COMPLETE": "complete_bash", "COMP_WORDS": "tailfit pre", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["predict"]
    assert tailfit_command("shell-completion", "csh").returncode == 2


def test_every_command_has_a_short_help_with_an_example():
    spec = importlib.util.spec_from_file_location("commands", ROOT / "docs" / "commands.py")
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    page = commands.page()
    if tuple(map(int, version("typer").split(".")[:2])) >= (0, 27):  # older ones write choices and defaults otherwise
        assert commands.PAGE.read_text(encoding="utf-8") == page, "run python docs/commands.py"
    texts = page.split("```text\n")[1:]
    assert len(texts) > 10
    for text in texts:
        assert "Example" in text
        assert len(text.split("```")[0].splitlines()) <= 50


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


# -- recipes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe and its records."""
    root = tmp_path_factory.mktemp("recipes")
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 30])
    x = rng.normal(3.0 * y[:, None], size=(90, 4)).astype("float32")
    tailfit.data.save_npy_folder(root / "pumps", x, np.array(["leak", "ok"])[y])
    (root / "pumps.yaml").write_text(
        "data: {path: pumps}\nnetwork: {name: mlp, units: [8]}\nepochs: 2\n"
        "compare: {vary: {plain: {}, adjusted: {loss: LogitAdjusted}}}\n"
    )
    return root / "pumps.yaml"


def command(*arguments, monkeypatch):
    """Run a command in this process, and return its exit code."""
    monkeypatch.setattr("sys.argv", ["tailfit", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.filterwarnings("default")  # the data contain the training part
def test_a_recipe_is_trained_evaluated_and_reported(recipe, tmp_path, monkeypatch, capsys):
    run = partial(command, monkeypatch=monkeypatch)
    assert run("recipe", "check", recipe) == 0
    assert "valid" in capsys.readouterr().out
    assert run("train", recipe, "--out", tmp_path / "run", "-s", "seed=3") == 0
    trained = capsys.readouterr().out
    assert "balanced accuracy" in trained
    assert "Written:" in trained
    assert f"  tailfit compare {recipe}" in trained.split("Next:")[1]
    assert f"  tailfit export {tmp_path / 'run'} --out run.onnx" in trained
    assert run("evaluate", tmp_path / "run", "--out", tmp_path / "again.json") == 0
    assert (tmp_path / "again.json").read_text() == (tmp_path / "run" / "evaluation.json").read_text()
    assert run("evaluate", tmp_path / "run", "--data", recipe.parent / "pumps", "--part", "validation") == 0
    assert "63 samples have the ID and the record of a training sample" in capsys.readouterr().err
    assert run("report", tmp_path / "run", tmp_path / "again.json", "--out", tmp_path / "page.html") == 0
    assert "<h1>" in (tmp_path / "page.html").read_text()
    assert run("compare", recipe, "--seeds", "2", "--out", tmp_path / "compared") == 0
    compared = capsys.readouterr().out
    assert "adjusted" in compared
    assert f"  tailfit suspects {recipe}" in compared.split("Next:")[1]
    assert (tmp_path / "compared" / "report.html").is_file()
    for arguments in (["train", recipe, "--out", tmp_path / "run", "-s", "seed=3"], ["evaluate", tmp_path / "run"]):
        capsys.readouterr()
        assert run(*arguments, "--json") == 0
        assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "again.json").read_text())
    assert run("compare", recipe, "--seeds", "2", "--out", tmp_path / "compared", "--json") == 0
    assert json.loads(capsys.readouterr().out)["verdicts"].keys() == {"adjusted"}
    assert run("inspect", recipe.parent / "pumps", "--json") == 0
    inspected = json.loads(capsys.readouterr().out)
    assert (inspected["samples"], inspected["sound"], len(inspected["classes"])) == (90, True, 2)
    assert run("recipe", "schema", "--out", tmp_path / "schema.json") == 0
    assert json.loads((tmp_path / "schema.json").read_text())["required"] == ["data"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "nothing.yaml"], 2, "nothing.yaml: No such file"),
        (["train", "{recipe}", "-s", "loss.tau=x"], 2, "loss.tau: the unknown key|loss.tau"),
        (["train", "{recipe}", "-s", "los=Focal"], 2, "los: the unknown key 'los'"),
        (["train", "{recipe}", "-s", "epochs"], 2, "--set epochs"),
        (["train", "{recipe}", "-s", "network={function: 'x:y'}"], 2, "--module x"),
        (["train", "{recipe}", "-m", "no_such_module"], 2, "no_such_module"),
        (["train", "{recipe}", "-s", "data.path=nowhere", "--out", "{out}"], 2, "nowhere: no such file or folder"),
        (["train", "{recipe}", "-s", "data.path=s3://x/y", "--out", "{out}"], 2, "--fetch"),
        (["recipe", "check", "{recipe}", "-s", "epochs=0"], 2, "epochs: 0"),
        (["compare", "{recipe}", "-s", "compare=null"], 2, "nothing to vary"),
        (["compare", "{recipe}", "--jobs", "0"], 2, "--jobs"),
        (["evaluate", "{out}"], 2, "contains no result.json"),
        (["report", "{out}"], 2, "evaluation.json"),
        (["evaluate", "{out}", "--part", "all"], 2, ""),
    ],
)
def test_an_invalid_recipe_exits_with_2(arguments, code, message, recipe, tmp_path, monkeypatch, capsys):
    filled = [each.replace("{recipe}", str(recipe)).replace("{out}", str(tmp_path / "out")) for each in arguments]
    assert command(*filled, monkeypatch=monkeypatch) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert re.search(message, said), said


def test_the_directory_of_another_run_exits_with_1(recipe, tmp_path, monkeypatch, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert command("train", recipe, "--out", tmp_path, monkeypatch=monkeypatch) == 1
    assert "thesis.txt" in capsys.readouterr().err


@pytest.mark.on_each
def test_the_backend_of_a_recipe_is_chosen_before_keras_is_imported(recipe, backend):
    text = recipe.read_text() + f"backend: {backend}\n"
    path = recipe.with_name("named.yaml")
    path.write_text(text)
    code = "from tailfit.cli import main\ntry: main()\n"
    code += "except SystemExit: pass\nimport keras; print(keras.backend.backend())"
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code, "recipe", "check", str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.stdout.split()[-1] == backend, done.stderr


def test_garbage_is_collected_except_during_imports(recipe):
    code = """
import gc, sys
collected = []
importing = lambda: "keras" in sys.modules and "tailfit.cli.recipes" not in sys.modules
gc.callbacks.append(lambda phase, info: collected.append(importing()))
from tailfit.cli import main
try: main()
except SystemExit: pass
print(any(collected), gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
    command = [sys.executable, "-c", code, "recipe", "check", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.splitlines()[-1] == "False True True"


def test_a_failed_import_leaves_the_collector_on():
    with pytest.raises(ImportError), imports_uncollected():
        importlib.import_module("no_such_module" if not gc.isenabled() else "gc")
    assert gc.isenabled()


CALLED = {"train": "training.train_as_worker", "compare": "comparing.compare"}


@pytest.mark.parametrize(("ended", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
@pytest.mark.parametrize("name", ["train", "compare"])
def test_a_stopped_command_prints_how_to_continue(name, ended, code, recipe, tmp_path, monkeypatch, capsys):
    def stopped(*arguments, **options):
        raise ended

    monkeypatch.setattr(f"tailfit.cli.{CALLED[name]}", stopped)
    place = tmp_path / "my run"
    assert command(name, recipe, "--out", place, monkeypatch=monkeypatch) == code
    said = capsys.readouterr().err
    assert f"To continue the run, use the same command: tailfit {name} {recipe} --out '{place}'" in said


@pytest.mark.filterwarnings("default")
def test_hints_are_quoted_for_the_shell_and_warnings_are_printable(recipe, tmp_path, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise ValueError("\x1b[2J no chart")

    monkeypatch.setattr("tailfit.evaluation.charts.Drawing", broken)
    assert command("train", recipe, "--out", tmp_path / "my run", monkeypatch=monkeypatch) == 0
    told = capsys.readouterr()
    assert f"tailfit evaluate '{tmp_path / 'my run'}'" in told.out
    assert "tailfit: warning: Confusion matrix of" in told.err
    assert "\x1b" not in told.err
    assert "could not be drawn" in (tmp_path / "my run" / "report.html").read_text()
    assert (tmp_path / "my run" / "result.json").is_file()


def test_the_progress_of_a_comparison_shows_speed_metrics_and_time():
    from tailfit.cli.comparing import ComparisonProgress

    shown = ComparisonProgress()
    shown.planned({("plain", 0): 2, ("focal", 0): 2})
    shown.epoch_ended("plain", 0, 1, {"val_balanced_accuracy": 0.5})
    assert (shown.count(), shown.running()) == ("0 of 2 runs", "running: plain, seed 0 (1/2: 0.500)")
    shown.epoch_ended("plain", 0, 2, {"val_balanced_accuracy": 0.6, "samples_per_second": 1000.4})
    shown.epoch_ended("focal", 0, 1, {"val_balanced_accuracy": 0.7, "samples_per_second": 500.0})
    assert shown.count() == "0 of 2 runs, 1,500 samples/s"
    shown.run_ended("plain", 0, {"val_balanced_accuracy": 0.6})
    assert shown.count() == "1 of 2 runs, 500 samples/s"
    assert shown.running() == "running: focal, seed 0 (1/2: 0.700)"
    assert shown.standing() == "val_balanced_accuracy so far: plain 0.600"


def test_next_steps_fit_a_narrow_terminal():
    from tailfit.cli.next_steps import print_next
    from tailfit.terminal import PlainConsole

    def printed(width):
        print_next(PlainConsole(file=(file := io.StringIO()), width=width), [("tailfit runs", "all runs"), ("ls", "x")])
        return file.getvalue()

    assert printed(40) == "Next:\n  tailfit runs  # all runs\n  ls            # x\n"
    assert printed(20) == "Next:\n  # all runs\n  tailfit runs\n  # x\n  ls\n"
