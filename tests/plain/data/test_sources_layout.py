"""The classic layout: round trips, and atomic writing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tailfit.data import NpyFolder, save_npy_folder
from tailfit.data import open as open_source
from tailfit.errors import ArgumentError, DataError

X = np.arange(12.0).reshape(4, 3)
IDS = ["r1", "r2", "r3", "ü4"]
META = pl.DataFrame({"id": IDS, "site": ["A", "A", "B", None]})


@pytest.mark.parametrize(
    "labels",
    [None, ["ok", "leak", "ok", "ok"], [2, 0, 2, 2], np.eye(3)[[0, 1, 2, 0]], [[0.5, 0.5]] * 4, [[1, 1], [0, 0]] * 2],
    ids=["none", "names", "codes", "one-hot", "soft", "multi-label"],
)
def test_round_trip(labels: Any, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "pumps"
    save_npy_folder(root, X, labels, IDS, META, {"train": IDS[:3], "test": IDS[3:]})
    for path in (root, root / "data"):
        source = open_source(path)
        assert isinstance(source, NpyFolder)
        assert list(source.ids) == IDS
        np.testing.assert_array_equal(source.read([0, 1, 2, 3]), X)
        assert source.metadata.equals(META)
        if labels is not None:
            from tailfit.labels import encode

            np.testing.assert_array_equal(source.labels, encode(labels).values)
            assert source.class_names == encode(labels).class_names
    assert {name: part.ids for name, part in source.split(root / "partition.json").items()} == {
        "train": tuple(IDS[:3]),
        "test": tuple(IDS[3:]),
    }


def test_labels_are_written_as_names(tmp_path: Path) -> None:
    save_npy_folder(tmp_path / "a", X, [1, 0, 1, 1], IDS, class_names=["leak", "ok"])
    assert json.loads((tmp_path / "a" / "labels.json").read_text()) == {
        "r1": "ok",
        "r2": "leak",
        "r3": "ok",
        "ü4": "ok",
    }
    assert np.load(tmp_path / "a" / "data" / "r2.npy").tolist() == [3.0, 4.0, 5.0]


def test_a_class_without_samples_keeps_its_index(tmp_path: Path) -> None:
    save_npy_folder(tmp_path / "a", X, ["ok"] * 4, class_names=["leak", "ok"])
    assert open_source(tmp_path / "a").class_counts.tolist() == [0.0, 4.0]


@pytest.mark.parametrize("stage", ["np.save", "write_parquet", "json", "rename"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "Ctrl-C"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_writing_is_atomic(
    stage: str, error: BaseException, overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if overwrite:
        save_npy_folder(tmp_path / "out", X + 1, [0, 1, 0, 1], IDS)
    calls: list[Any] = []

    def fail(*args: Any, **keywords: Any) -> Any:
        calls.append(args)
        raise error

    targets = {
        "np.save": (np, "save"),
        "write_parquet": (pl.DataFrame, "write_parquet"),
        "json": (json, "dumps"),
        "rename": (Path, "rename"),
    }
    with monkeypatch.context() as patched:
        patched.setattr(*targets[stage], fail)
        with pytest.raises(type(error)):
            save_npy_folder(tmp_path / "out", X, [0, 1, 0, 1], IDS, META, overwrite=overwrite)
    assert calls
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if overwrite else [])
    if overwrite:
        np.testing.assert_array_equal(open_source(tmp_path / "out").read([0, 1, 2, 3]), X + 1)


def test_the_old_folder_is_restored_if_the_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_npy_folder(tmp_path / "out", X, ids=IDS)
    rename, names = Path.rename, []

    def second_fails(self: Path, target: Any) -> Any:
        names.append(self.name)
        if len(names) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", second_fails)
        with pytest.raises(OSError, match="Input/output"):
            save_npy_folder(tmp_path / "out", X + 1, ids=IDS, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    np.testing.assert_array_equal(open_source(tmp_path / "out").read([0]), X[:1])


def test_an_existing_folder_is_refused(tmp_path: Path) -> None:
    save_npy_folder(tmp_path / "out", X)
    with pytest.raises(ArgumentError, match="existing path"):
        save_npy_folder(tmp_path / "out", X)
    save_npy_folder(tmp_path / "out", X[:2], overwrite=True)
    assert len(open_source(tmp_path / "out")) == 2
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(ArgumentError, match="contains other files"):
        save_npy_folder(tmp_path / "out", X, overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        {"labels": [0, 1]},
        {"ids": ["a", "b", "c", "a"]},
        {"ids": ["a", "b", "c", "../d"]},
        {"partition": {"train": ["0"], "test": ["0"]}},
        {"partition": {"train": ["9"]}},
        {"metadata": META[:2]},
    ],
    ids=str,
)
def test_inconsistent_arguments_write_nothing(arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        save_npy_folder(tmp_path / "out", X, **arguments)
    assert not list(tmp_path.iterdir())


def test_labels_of_the_parent_are_ignored_for_other_folders(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    np.save(tmp_path / "records" / "a.npy", X)
    (tmp_path / "labels.json").write_text('{"someone": "else"}')
    assert open_source(tmp_path / "records").labels is None
