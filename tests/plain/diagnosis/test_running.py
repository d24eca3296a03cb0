"""Scripts that the doctor cannot examine: one error each, without Keras being imported."""

import time

import pytest

from tailfit.diagnosis.finding import Finding
from tailfit.diagnosis.running import examine_script
from tailfit.errors import TailfitError

SCRIPTS = {
    "raises": ("raise RuntimeError('no data')", "raised RuntimeError in line 1: no data"),
    "raises lines": ("raise ValueError('\x1b[1mone\x1b[0m\\n\\ntwo')", "raised ValueError in line 1: one two"),
    "exits": ("import sys\nsys.exit(3)", "raised SystemExit: 3"),
    "ends its process": ("import os\nprint('bye', flush=True)\nos._exit(4)", r"ended its process \(bye\)"),
    "no Python": ("def f(:", r"script\.py:1, which is not Python"),
    "bytes": ("x = '\0'", "which is not Python"),
    "no Keras": ("print('hello')", "calls no fit.*does not import Keras"),
    "nothing": ("", "calls no fit"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_that_can_not_be_examined_is_one_error(name, tmp_path):
    text, message = SCRIPTS[name]
    (tmp_path / "script.py").write_text(text)
    with pytest.raises(TailfitError, match=message) as raised:
        examine_script(tmp_path / "script.py")
    assert "\n" not in str(raised.value)


def test_a_script_that_runs_for_ever_is_ended_with_its_processes(tmp_path):
    child = f"import time; time.sleep(4); open({str(tmp_path / 'late')!r}, 'w')"
    (tmp_path / "script.py").write_text(
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "while True: time.sleep(1)\n"
    )
    with pytest.raises(TailfitError, match="ran for more than 2 seconds"):
        examine_script(tmp_path / "script.py", timeout=2)
    time.sleep(3)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("name", "message"), [("absent.py", "No such file"), ("", "regular file"), ("notes.ipynb", "notebook")]
)
def test_a_file_that_is_no_script_is_one_error(name, message, tmp_path):
    (tmp_path / "notes.ipynb").write_text('{"cells": []}')
    with pytest.raises((TailfitError, OSError), match=message):
        examine_script(tmp_path / name)


def test_a_script_gets_its_arguments_and_its_folder(tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("value = 7")
    (tmp_path / "json.py").write_text("raise ImportError('not the json that the doctor needs')")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text(
        "import sys, beside\nraise SystemExit(f'{sys.argv[1:]} {beside.value} {__name__}')"
    )
    with pytest.raises(TailfitError, match=r"\['--epochs', '3'\] 7 __main__"):
        examine_script(tmp_path / "script.py", ["--epochs", "3"])


def test_a_finding_is_printable_and_plain():
    finding = Finding(trap=3, title="\x1b[2J", what="w", fix="f", tailfit="t", numbers="1", file="a\n.py", line=2)
    assert str(finding).splitlines()[0] == r"a\n.py:2: trap 3: \x1b[2J"
    assert finding.to_dict()["numbers"] == "1"
