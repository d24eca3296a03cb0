"""The doctor on scripts in the style of Keras' guides: each trap is found, and sound scripts have no finding."""

import json
import os
import re
import subprocess
import sys

import keras
import pytest
from support.paths import ROOT

from tailfit.diagnosis.script import examined

SCRIPTS = ROOT / "tests" / "support" / "doctor_scripts"
TRAPS = sorted((SCRIPTS / "traps").glob("*.py"))
SOUND = sorted((SCRIPTS / "sound").glob("*.py"))
BACKENDS = ("jax", "tensorflow", "torch")
# The doctor hides the warnings of what it examines, but a script is run as it is.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:keras", "ignore::FutureWarning")


def backends_of(script):
    found = re.search(r"# backends: ([\w ]+)", script.read_text())
    return tuple(found[1].split()) if found else BACKENDS


def alone(script):
    return "# process: own" in script.read_text()


def trap_of(script):
    return int(script.stem.split("_")[1])


def case(script):
    """A case that runs on the backends of its script; one that runs on all runs on torch, which compiles nothing."""
    backends = backends_of(script)
    mark = pytest.mark.mostly_on("torch") if backends == BACKENDS else pytest.mark.only_on(*backends)
    return pytest.param(script, id=script.stem, marks=mark)


def findings_of(script):
    """Return the findings, and the error of the script if it raised one."""
    found, failed, raised = [], [], None
    try:
        examined(script, [], found.append, failed=failed.append)
    except Exception as error:
        raised = error
    assert failed == []
    return found, raised


@pytest.mark.parametrize("script", [case(each) for each in TRAPS if not alone(each)])
def test_each_trap_is_found_with_its_line(script):
    found, _ = findings_of(script)  # some traps end the script with an error
    assert trap_of(script) in {each.trap for each in found}
    assert {each.trap for each in found} <= {trap_of(script)} | {14}  # losses of 15 and 29 are also reported wrongly
    lines = script.read_text().splitlines()
    for finding in found:
        assert finding.file == str(script)
        assert 0 < finding.line <= len(lines)
        assert lines[finding.line - 1].strip()


@pytest.mark.parametrize("script", [case(each) for each in SOUND])
def test_a_sound_script_has_no_findings(script):
    found, error = findings_of(script)
    assert error is None
    assert found == []


def test_there_are_scripts_of_all_traps_and_enough_sound_ones():
    assert {trap_of(script) for script in TRAPS} == set(range(1, 30))
    for backend in BACKENDS:
        assert sum(backend in backends_of(script) for script in SOUND) >= 15


def test_keras_is_as_before_afterwards():
    before = (
        keras.Model.fit,
        keras.Model.compile,
        keras.Model.save,
        keras.saving.load_model,
        keras.StatelessScope.__init__,
    )
    findings_of(SCRIPTS / "sound" / "loop_by_hand.py")
    after = (
        keras.Model.fit,
        keras.Model.compile,
        keras.Model.save,
        keras.saving.load_model,
        keras.StatelessScope.__init__,
    )
    assert before == after


def doctor_command(*arguments, **environment):
    command = [sys.executable, "-c", "from tailfit.cli import main; main()", "doctor", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.mark.only_on("jax")
def test_the_command_on_a_script_that_needs_its_own_process():
    script = SCRIPTS / "traps" / "trap_24_devices.py"
    done = doctor_command(script, "--json")
    assert done.returncode == 1, done.stderr
    printed = json.loads(done.stdout)
    assert [each["trap"] for each in printed["findings"]] == [24]
    assert printed["backend"] == "jax"


@pytest.mark.only_on("torch")
def test_the_command_prints_findings_and_the_scripts_choice_of_a_backend_counts(tmp_path):
    text = (SCRIPTS / "traps" / "trap_12_missing_class.py").read_text()
    script = tmp_path / "train.py"
    script.write_text(
        f"import os\nos.environ['KERAS_BACKEND'] = 'torch'\n{text}\nprint('not shown')\nopen('own', 'w')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from tailfit.cli import main; main()", "doctor", "train.py"],
        env={key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 1, done.stderr
    line = 1 + script.read_text().splitlines().index(text.splitlines()[-1])
    assert done.stdout.startswith(f"train.py:{line}: trap 12: classes without a weight\n")
    assert done.stdout.endswith("train.py: 1 finding (fit called once, on torch)\n")
    assert "not shown" not in done.stdout
    assert (tmp_path / "own").exists()
