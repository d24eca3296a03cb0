"""The page "Where your data is": its examples run, its table is complete."""

import inspect
from pathlib import Path
from typing import Any

import datasets
import fsspec
import h5py
import numpy as np
import PIL.Image
import polars as pl
import pytest
import zarr
from support.formats import example, framed
from support.page_code import blocks
from support.paths import ROOT

import tailfit
from tailfit.data import Source
from tailfit.data import open as open_source

PAGE = ROOT / "docs" / "where-your-data-is.md"
SIZE = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, causes = tmp_path_factory.mktemp("pumps"), ["leak", "ok"] * (SIZE // 2)
    signal = np.random.default_rng(0).normal(size=(SIZE, 128, 12)).astype("float32")
    frame = pl.DataFrame(
        {
            "pump": [f"p{number:02d}" for number in range(SIZE)],
            "flow": signal[:, 0, 0],
            "heat": np.arange(SIZE),
            "site": [f"{'AB'[number % 2]}" if number < 4 else f"S{number // 4}" for number in range(SIZE)],
            "cause": causes,
        }
    )
    frame.write_parquet(root / "pumps.parquet")
    frame.write_csv(root / "pumps.csv")
    datasets.Dataset.from_polars(frame).save_to_disk(root / "saved")
    with h5py.File(root / "pumps.h5", "w") as file:
        file["plant/signal"], file["plant/context"], file["plant/cause"] = signal, signal[:, 0], causes
    np.savez(root / "mnist.npz", x_train=signal, y_train=np.arange(SIZE) % 10)
    zarr.create_group(root / "pumps.zarr").create_array("x", data=signal)
    for number, cause in enumerate(causes):
        (root / "photos" / cause).mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(root / "photos" / cause / f"{number}.png")
    contents = [example(signal=row, cause=cause) for row, cause in zip(signal, causes, strict=True)]
    (root / "pumps.tfrecord").write_bytes(b"".join(map(framed, contents)))
    from array_record.python.array_record_module import ArrayRecordWriter

    writer = ArrayRecordWriter(str(root / "pumps.array_record"), "group_size:1")
    for row in signal:
        writer.write(row.tobytes())
    writer.close()
    (root / "runs").mkdir()
    for number in range(2):
        steps = pl.DataFrame({"flow": [1.0, 2.0, 3.0], "class": [0, 101, 1]})
        steps.write_parquet(root / "runs" / f"run {number}.parquet")
    (root / "runs" / "runs.csv").write_text("run,well\nrun 0,A\nrun 1,B\n")
    fsspec.filesystem("memory").pipe("/bucket/pumps.parquet", (root / "pumps.parquet").read_bytes())
    return root


class Items(list[Any]):
    """As torchvision's: the labels are known without reading."""

    targets = (0, 1)


def test_each_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    known: dict[str, Any] = {"tailfit": tailfit, "polars": pl, "datasets": datasets, "np": np}
    known |= {
        "causes": ["leak", "ok"] * (SIZE // 2),
        "signals": np.zeros((SIZE, 4)),
        "dataset": Items([(np.zeros(2), 0), (np.ones(2), 1)]),
    }
    kinds = set()
    for block in blocks(PAGE):
        exec(block.code, known)
        source = known["source"]
        assert isinstance(source, Source)
        assert len(source.read([1, 0])) == 2 or isinstance(source.read([0]), dict)
        kinds.add(type(source).__name__)
    expected = "Parquet Table HuggingFace Recordings Npz HDF5 Zarr ImageFolder TFRecord ArrayRecord MapStyle"
    assert kinds == set(expected.split())
    assert open_source("packed").read([0]).shape == (1, 2)
    assert "share" in capsys.readouterr().out


def test_the_table_names_every_kind() -> None:
    made_of_others = {"Source", "Subset", "Concat", "Mapped", "Windows"}
    kinds = [kind for kind in vars(tailfit.data).values() if inspect.isclass(kind) and issubclass(kind, Source)]
    names = {kind.__name__ for kind in kinds}
    table = PAGE.read_text(encoding="utf-8").split("## Tables")[0]
    assert {name for name in names - made_of_others if f"`{name}`" not in table} == set()
