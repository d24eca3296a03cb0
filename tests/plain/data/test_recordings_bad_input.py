"""Damaged, changed and odd files of recordings: one error that names the file, whatever the format."""

import os
import pickle

import numpy as np
import polars as pl
import pytest
from support.sources import write_table

import tailfit
from tailfit.data import Recordings
from tailfit.errors import DataError, RecordError

SUFFIXES = [".parquet", ".feather", ".csv"]
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path):
    """The second of three recordings."""
    rng = np.random.default_rng(0)
    for name in ("a", "b ä", "c"):
        columns = {"timestamp": np.arange(9), "flow": rng.normal(size=9), "class": [0] * 5 + [1] * 4}
        write_table(pl.DataFrame(columns), tmp_path / f"{name}{request.param}")
    return tmp_path / f"b ä{request.param}"


def read_all(path, **options):
    source = Recordings(path.parent, memory=False, **options)
    return source.read(range(len(source)))


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"not one\n" * 100, pickle.dumps(os.abort)], ids=["empty", "a byte", "text", "a pickle"]
)
def test_a_file_of_a_different_format(path, content):
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_all(path)
    assert caught.value.received.startswith(str(path))
    assert len(str(caught.value)) < 600


def test_a_truncated_file_is_refused_or_shorter(path):
    whole = path.read_bytes()
    for size in [*range(1, len(whole), max(1, len(whole) // 30)), len(whole) - 1]:
        path.write_bytes(whole[:size])
        said, lengths = str(path), [9, 9, 9]
        try:
            lengths = read_all(path).lengths.tolist()
        except RecordError as error:
            said = error.received
        assert said.startswith(str(path))
        assert path.suffix == ".csv" or lengths == [9, 9, 9]


def test_damaged_bytes_give_an_error_or_data(path):
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        said = str(path.parent)
        try:
            assert read_all(path).dtype == np.float32
        except DataError as error:
            said = str(error)
        assert str(path.parent) in said


def test_a_folder_pipe_or_link_instead_of_a_file(path, tmp_path):
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordError, match="not a regular file"):
        read_all(path)
    with pytest.raises(RecordError, match="not a regular file"):
        Recordings([path])
    path.unlink()
    outside = tmp_path.parent / f"{tmp_path.name} outside"
    outside.write_bytes(content)
    path.symlink_to(outside)
    with pytest.raises(RecordError, match="a link out of the folder"):
        read_all(path)
    path.unlink()
    path.write_bytes(content)
    for name in ("runs.csv", "metadata.csv"):
        os.mkfifo(path.with_name(name))
        for call in (Recordings, tailfit.data.open):
            with pytest.raises(RecordError, match=f"{name}.*not a regular file"):
                call(path.parent)
        path.with_name(name).unlink()


@pytest.mark.parametrize("how", ["truncated", "replaced", "removed"])
def test_a_file_changed_after_opening(path, how):
    source = Recordings(path.parent, memory=False)
    if how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif how == "replaced":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    for each in (source, pickle.loads(pickle.dumps(source))):
        with pytest.raises(RecordError) as caught:
            each.read([1])
        assert caught.value.received.startswith(str(path))


def test_control_characters_are_escaped(tmp_path):
    table = pl.DataFrame({"x\x1b[31m": [1.0, 2.0], "class": ["a\x1b", "b\u202e"]})
    table.write_parquet(tmp_path / "r\x1b.parquet")
    source = Recordings(tmp_path)
    assert source.ids == ("r\x1b",)
    for options in ({"classes": {"a": ["a\x1b"]}}, {"columns": ["y\x1b"]}, {"label": "c\x1b"}, {"time": "t\x1b"}):
        with pytest.raises(DataError) as caught:
            Recordings(tmp_path, **options)
        assert str(caught.value).isprintable()
    nul = pl.DataFrame({"x": [1.0, 2.0], "class": ["a", "b\0"]})
    nul.write_parquet(tmp_path / "r\x1b.parquet")
    with pytest.raises(DataError, match=r"class name 'b.x00'"):
        Recordings(tmp_path)


def test_a_claim_beyond_memory_is_refused(tmp_path, monkeypatch):
    table = pl.DataFrame({"x": pl.repeat(0, 1 << 21, dtype=pl.Int8, eager=True)})
    table.write_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr("tailfit.data.files.parquet_groups.available_memory", lambda: 1 << 18)
    with pytest.raises(RecordError, match=r"a\.parquet: 2097152 rows, more than the free memory"):
        Recordings(tmp_path, label=None)
