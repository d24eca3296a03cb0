"""The example in the README runs as it stands there, on every backend."""

import re

import numpy as np
import polars as pl
import pytest
from support.paths import ROOT

import tailfit

pytestmark = pytest.mark.above_training

README = ROOT / "README.md"


def test_the_fifteen_lines(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    rng = np.random.default_rng(0)
    causes = np.repeat([0, 1, 2], [60, 20, 10])
    ids = [f"r{i}" for i in range(90)]
    tailfit.data.save_npy_folder(
        tmp_path / "faults",
        (rng.normal(size=(90, 40, 3)) + 3 * causes[:, None, None]).astype("float32"),
        [["none", "leak", "wear"][k] for k in causes],
        ids=ids,
        metadata=pl.DataFrame({"id": ids, "site": ["A", "B"] * 45, "snr": rng.integers(0, 9, 90)}),
        partition={"train": ids[::2], "test": ids[1::2]},
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.print", lambda *values: shown.extend(values))
    shown = []
    exec(compile(code, str(README), "exec"), {})
    (evaluation,) = shown
    assert evaluation.balanced_accuracy > 0.5  # 20 steps: more than chance, 1/3
    assert evaluation.train_counts == (10.0, 30.0, 5.0)
