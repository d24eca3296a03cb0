"""The commands of "Getting started" run literally, in their order, in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.page_code import shell_commands
from support.paths import ROOT

PAGE = ROOT / "docs" / "getting-started.md"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.mostly_on("torch")
def test_the_commands_of_getting_started(tmp_path):
    (recipe,) = re.findall(r"^```yaml\n(data:.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "plant.yaml").write_text(recipe, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = []
    for command in shell_commands(PAGE):
        if command[0] == "pip":  # what is installed is tested by scripts/release
            continue
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
        ran.append(command[1])
        if command[1] == "demo":
            # The page leaves newer records to the reader: the same ones, without the partition.
            shutil.copytree(tmp_path / "tailfit-demo" / "records", tmp_path / "newer-records")
            (tmp_path / "newer-records" / "partition.json").unlink()
    assert ran == ["demo", "inspect", "recipe", "train", "evaluate", "compare"]
    assert (tmp_path / "runs" / "plant-compared" / "recommended.yaml").is_file()
