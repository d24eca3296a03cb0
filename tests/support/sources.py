"""Example builders for the tests of all sources: one or more per class, with the expected records.

A builder takes a temporary folder and returns (source, truth), where truth is the batch of all samples in order. Each
class in `tailfit.data.__all__` needs an entry.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tailfit.data import (
    Arrays,
    Concat,
    Mapped,
    MapStyle,
    NpyFolder,
    Npz,
    Packed,
    Recordings,
    Source,
    Subset,
    Windows,
    pack,
)

Builder = Callable[[Path], tuple[Source, Any]]
SIZE = 23


def records(shape: tuple[int, ...] = (4, 3), dtype: str = "float32") -> Any:
    return np.random.default_rng(7).integers(0, 100, (SIZE, *shape)).astype(dtype)


def labels() -> Any:
    return np.array(["leak", "ok", "worn"])[np.minimum(np.arange(SIZE) % 5, 2)]


def ids() -> list[str]:
    return [f"r{number:02d} ä" for number in range(SIZE)]


def metadata() -> pl.DataFrame:
    return pl.DataFrame({"id": ids()[::-1], "site": [f"site {number // 4}" for number in range(SIZE)]})


def arrays(folder: Path) -> tuple[Source, Any]:
    return Arrays(records(), labels(), ids(), metadata()), records()


def numbered(folder: Path) -> tuple[Source, Any]:
    return Arrays(records((), "int16")), records((), "int16")


def memmap(folder: Path) -> tuple[Source, Any]:
    np.save(folder / "all.npy", records())
    return Arrays(np.load(folder / "all.npy", mmap_mode="r"), labels()), records()


def nest(folder: Path) -> tuple[Source, Any]:
    def build() -> dict[str, Any]:
        return {"sensor": records(), "context": (records((2,), "int8"), [records(())])}

    return Arrays(build(), np.eye(3)[np.arange(SIZE) % 3] * 0.9 + 0.1 / 3), build()


def folder_of(shape: tuple[int, ...], dtype: str, with_labels: bool = True) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        for name, record in zip(ids(), records(shape, dtype), strict=True):
            np.save(folder / f"{name}.npy", record)
        (folder / "notes.txt").write_text("not a record")
        if not with_labels:
            return NpyFolder(folder), records(shape, dtype)
        return NpyFolder(folder, dict(zip(ids(), labels().tolist(), strict=True)), metadata()), records(shape, dtype)

    return build


def big_endian(folder: Path) -> tuple[Source, Any]:
    for name, record in zip(ids(), records((2, 2), ">f8"), strict=True):
        np.save(folder / f"{name}.npy", record)
    return NpyFolder(folder), records((2, 2), "float64")


def big_endian_arrays(folder: Path) -> tuple[Source, Any]:
    np.save(folder / "all.npy", records(dtype=">f4"))
    mapped = np.load(folder / "all.npy", mmap_mode="r")
    return Arrays({"memory": records(dtype=">i2"), "mapped": mapped}), {
        "memory": records(dtype="int16"),
        "mapped": records(),
    }


def big_endian_windows(folder: Path) -> tuple[Source, Any]:
    return Windows(Arrays(records((6, 2), ">f8")), 6), records((6, 2), "float64")


def npz(memory: Any, save: Callable[..., None] = np.savez) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        save(folder / "set.npz", X=records(), y=labels(), ids=ids())
        return Npz(folder / "set.npz", metadata=metadata(), memory=memory), records()

    return build


def npz_nest(folder: Path) -> tuple[Source, Any]:
    np.savez(folder / "set.npz", signal=records((2,), ">i2"), still=np.asfortranarray(records()))
    names = {"a": "signal", "rest": ["still", "signal"]}
    return Npz(folder / "set.npz", names), {"a": records((2,), "int16"), "rest": [records(), records((2,), "int16")]}


def packed(memory: bool, nested: bool = False) -> Builder:
    def build(folder: Path) -> tuple[Source, Any]:
        whole, truth = (nest if nested else arrays)(folder)
        pack(whole, folder / "set", shard_bytes=5 * 4 * 3 * 4)  # of five records, the last of three
        return Packed(folder / "set", memory=memory), truth

    return build


def concat(folder: Path) -> tuple[Source, Any]:
    whole, truth = arrays(folder)
    return Concat(Subset(whole, range(9)), Subset(whole, range(9, SIZE))), truth


def concat_of_nests(folder: Path) -> tuple[Source, Any]:
    whole, truth = nest(folder)
    other = Arrays(dict(reversed(truth.items())), whole.labels)  # its keys are in another order
    return Concat(Subset(whole, range(9)), Subset(other, range(9, SIZE)), prefixes=["a", "b"]), truth


def mapped(folder: Path) -> tuple[Source, Any]:
    whole, truth = nest(folder)
    return Mapped(whole, one_more), truth["sensor"] + 1


def one_more(records: Any) -> Any:
    return records["sensor"] + 1


def windows(folder: Path) -> tuple[Source, Any]:
    return Windows(Arrays(records((6, 2)), labels()), 3, 2), records((6, 2))[:, [[0, 1, 2], [2, 3, 4]]].reshape(
        -1, 3, 2
    )


def windows_of_an_array(folder: Path) -> tuple[Source, Any]:
    return Windows(records(), 2, 1), np.stack([records()[start : start + 2] for start in range(SIZE - 1)])


def windows_of_recordings(suffix: str, **options: Any) -> Builder:
    """Windows of recordings; recordings themselves are ragged, see test_ragged.py."""

    def build(folder: Path) -> tuple[Source, Any]:
        for name, label, record in zip(ids(), labels(), records((6, 2)), strict=True):
            table = pl.DataFrame(record, schema=["flow", "heat"]).with_columns(pl.lit(label).alias("class"))
            write_table(table, folder / f"{name}{suffix}")
        source = Recordings(folder, metadata=metadata(), group="site", **options)
        return Windows(source, 3, 2), records((6, 2))[:, [[0, 1, 2], [2, 3, 4]]].reshape(-1, 3, 2)

    return build


def write_table(table: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        table.write_parquet(path, row_group_size=4)
    elif path.suffix == ".feather":
        table.write_ipc(path)
    else:
        table.write_csv(path)


def subset(folder: Path) -> tuple[Source, Any]:
    chosen = np.arange(SIZE)[::-2]
    return Subset(arrays(folder)[0], chosen), records()[chosen]


def subset_of_subset(folder: Path) -> tuple[Source, Any]:
    whole, truth = folder_of((4, 3), "float32")(folder)
    return Subset(Subset(whole, np.arange(20)), [5, 0, 19]), truth[[5, 0, 19]]


class Items:
    """A map-style data set, as in torch, of items (x, y)."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> Any:
        return records()[index], str(labels()[index])


class ItemsByBatch(Items):
    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __getitems__(self, indices: list[int]) -> list[Any]:
        items = [{"sensor": records()[index], "site": np.int8(index), "y": index % 2} for index in indices]
        return [dict(reversed(item.items())) if item["y"] else item for item in items]  # keys in another order


def items(folder: Path) -> tuple[Source, Any]:
    return MapStyle(Items(), ids=ids(), metadata=metadata(), label=1), records()


def items_by_batch(folder: Path) -> tuple[Source, Any]:
    truth = {"sensor": records(), "site": np.arange(SIZE, dtype="int8")}
    return MapStyle(ItemsByBatch(), np.arange(SIZE) % 3, label="y"), truth


BUILDERS: dict[type[Source], dict[str, Builder]] = {
    Arrays: {"arrays": arrays, "numbered": numbered, "memmap": memmap, "nest": nest, "big endian": big_endian_arrays},
    NpyFolder: {
        "matrices": folder_of((4, 3), "float32"),
        "scalars": folder_of((), "float64"),
        "booleans": folder_of((3,), "bool", with_labels=False),
        "big endian": big_endian,
    },
    Npz: {
        "in memory": npz(True),
        "by row": npz(False),
        "compressed": npz("auto", np.savez_compressed),
        "nest": npz_nest,
    },
    Packed: {
        "in memory": packed(True),
        "from files": packed(False),
        "nest in memory": packed(True, nested=True),
        "nest from files": packed(False, nested=True),
    },
    Concat: {"concat": concat, "nests": concat_of_nests},
    MapStyle: {"items": items, "items by batch": items_by_batch},
    Mapped: {"mapped": mapped},
    Windows: {"windows": windows, "big endian": big_endian_windows, "windows of an array": windows_of_an_array},
    Recordings: {
        "windows in memory": windows_of_recordings(".parquet"),
        "windows from row groups": windows_of_recordings(".parquet", memory=False),
        "windows of Feather files": windows_of_recordings(".feather", memory=False),
        "windows of CSV files": windows_of_recordings(".csv", memory=False),
    },
    Subset: {"subset": subset, "subset of a subset": subset_of_subset},
}
