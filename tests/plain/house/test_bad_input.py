"""Bad input to the whole public API: each call raises one error of ours, of the right class, in three parts."""

import inspect
import re

import numpy as np
import polars as pl
import pytest
from support.bad_arguments import ARGUMENTS
from support.bad_data import DATA

from tailfit.data import Arrays
from tailfit.data.tables.reading import read_table
from tailfit.errors import RecordError, TailfitError

ROOMS = {**ARGUMENTS, **DATA}
CASES = [(room, name) for room, cases in ROOMS.items() for name in cases]


@pytest.mark.parametrize(("room", "name"), CASES)
def test_bad_input_is_named_and_mended(room, name, tmp_path):
    bad = ROOMS[room][name]
    in_folder = any(each.default is each.empty for each in inspect.signature(bad.call).parameters.values())
    with pytest.raises(TailfitError) as caught:
        bad.call(*[tmp_path] * in_folder)
    error = caught.value
    assert isinstance(error, bad.error), f"{type(error).__name__}: {error}"
    assert re.search(bad.received, error.received, re.DOTALL), error
    assert all(len(part) > 2 for part in (error.received, error.expected, error.fix)), error
    assert "\n" not in str(error)


def test_there_are_many_and_none_twice():
    calls = [bad.call for cases in ROOMS.values() for bad in cases.values()]
    assert len(calls) == len(set(calls)) == len(CASES) >= 300


def test_a_table_of_many_equal_values_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "labels.parquet"
    pl.DataFrame({"label": pl.repeat(0, 1 << 20, dtype=pl.Int8, eager=True)}).write_parquet(path)
    assert path.stat().st_size < 1 << 16
    monkeypatch.setattr("tailfit.data.tables.reading.available_memory", lambda: 1 << 22)
    with pytest.raises(RecordError, match=r"labels.parquet: 1048576 rows .* do not fit into memory"):
        read_table(path)


def test_an_id_of_many_digits_is_just_not_there():
    assert "9" * 5000 not in Arrays(np.zeros(2)).ids
