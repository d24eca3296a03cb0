"""The rows of one library, timed in a process of its own, which `benchmarks/feed` starts.

The process first prints the names of its rows, or the reason why the library is missing. For each line of its input,
the name of a row, it reads an epoch and prints the seconds. Its folder contains `x.npy`, `y.npy`, `indices.npy` (the
order of an epoch), `set/data/<ID>.npy` and `packed/`.
"""

import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch" if len(sys.argv) > 1 and sys.argv[1] == "torch" else "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

Reader = Callable[[], Iterator[Any]]
__all__ = ["GROUPS", "Given"]


class Given:
    """Records, labels and order, which all rows read in batches."""

    def __init__(self, root: Path, batch: int) -> None:
        self.root, self.batch = root, batch
        self.x, self.y = np.load(root / "x.npy"), np.load(root / "y.npy")
        order = np.load(root / "indices.npy")
        self.indices = [order[start : start + batch] for start in range(0, len(order), batch)]


def tailfit_rows(given: Given) -> dict[str, Reader]:
    import tailfit

    x, indices, root = given.x, given.indices, given.root
    folder = tailfit.data.NpyFolder(root / "set" / "data", dict(zip(_ids(len(x)), given.y.tolist(), strict=True)))
    in_memory, on_disk = (tailfit.data.Packed(root / "packed", memory=memory) for memory in (True, False))
    arrays = tailfit.data.Arrays(x, given.y)
    memmap = tailfit.data.Arrays(np.load(root / "x.npy", mmap_mode="r"), given.y)
    paths = [str(root / "set" / "data" / f"{name}.npy") for name in folder.ids]
    buffer = np.empty((given.batch, *x.shape[1:]), x.dtype)

    def generator() -> Iterator[Any]:
        for chosen in indices:
            out = np.empty((len(chosen), *x.shape[1:]), x.dtype)
            for row, position in enumerate(chosen.tolist()):
                out[row] = np.load(paths[position])
            yield out

    def take_out() -> Iterator[Any]:
        for chosen in indices:
            yield x.take(chosen, axis=0, out=buffer[: len(chosen)], mode="clip")

    def copy() -> Iterator[Any]:
        for start in range(0, len(x), given.batch):
            part = x[start : start + given.batch]
            np.copyto(buffer[: len(part)], part)
            yield buffer

    def batches(source: Any, sampler: Any = None, **more: Any) -> Reader:
        fed = tailfit.Batches(source, given.batch, sampler, seed=1, **more)
        return lambda: fed.iterate(0)

    def by_step(source: Any) -> Reader:
        fed = tailfit.Batches(source, given.batch, seed=1, prefetch=0)
        return lambda: (fed[step] for step in range(len(fed)))

    return {
        "contiguous copy (limit)": copy,
        "np.take(out=) (limit)": take_out,
        "np.take": lambda: (x.take(chosen, axis=0) for chosen in indices),
        "np.load generator (hand-written)": generator,
        "Batches(NpyFolder)": batches(folder),
        "Batches(Arrays)": batches(arrays),
        "Batches(memmap)": batches(memmap),
        "Batches(Packed)": batches(in_memory),
        "Batches(Packed), ClassBalanced": batches(in_memory, tailfit.samplers.ClassBalanced()),
        "Batches(Packed), Bootstrap": batches(in_memory, tailfit.samplers.Bootstrap()),
        "Batches(Packed), from its files": batches(on_disk),
        "Batches(Packed)[i], as a keras.Model reads it": by_step(in_memory),
    }


def kept_rows(given: Given) -> dict[str, Reader]:
    """The rows that ask the system for memory at every batch, in a process that keeps what it frees."""
    import tailfit

    if not tailfit.keep_memory():
        raise OSError("keep_memory does nothing here")
    wanted = ("np.take", "Batches(Packed)", "Batches(Packed)[i], as a keras.Model reads it")
    rows = tailfit_rows(given)
    return {f"{name}, keep_memory": rows[name] for name in wanted}


def keras_rows(given: Given) -> dict[str, Reader]:
    import keras
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    class Steps(keras.utils.PyDataset):
        def __len__(self) -> int:
            return len(given.indices)

        def __getitem__(self, step: int) -> Any:
            chosen = given.indices[step]
            return np.stack([given.x[position] for position in chosen]), given.y[chosen]

    def read(**workers: Any) -> Reader:
        adapter = PyDatasetAdapter(Steps(**workers), shuffle=False)

        def epoch() -> Iterator[Any]:
            adapter.on_epoch_begin()
            yield from adapter.get_numpy_iterator()
            adapter.on_epoch_end()

        return epoch

    return {"Keras PyDataset": read(), "Keras PyDataset, 2 workers": read(workers=2)}


def torch_rows(given: Given) -> dict[str, Reader]:
    import torch

    class Records(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(given.x)

        def __getitem__(self, position: int) -> Any:
            return torch.from_numpy(given.x[position]), int(given.y[position])

    class AsNumPy(Records):
        def __getitem__(self, position: int) -> Any:
            return given.x[position], given.y[position]

    def loader(workers: int, weighted: bool, records: Any = None) -> Reader:
        how: dict[str, Any] = {"batch_sampler": [chosen.tolist() for chosen in given.indices]}
        if weighted:
            weights = torch.from_numpy(1.0 / np.bincount(given.y)[given.y])
            sampler = torch.utils.data.WeightedRandomSampler(weights, len(given.x))
            how = {"sampler": sampler, "batch_size": given.batch}
        made = torch.utils.data.DataLoader(
            Records() if records is None else records, num_workers=workers, persistent_workers=workers > 0, **how
        )
        return lambda: iter(made)

    tensors = torch.utils.data.TensorDataset(torch.from_numpy(given.x), torch.from_numpy(given.y))
    return {
        "torch DataLoader": loader(0, False),
        "torch DataLoader, records in NumPy": loader(0, False, AsNumPy()),
        "torch DataLoader, TensorDataset": loader(0, False, tensors),
        "torch DataLoader, 2 workers": loader(2, False),
        "torch DataLoader, WeightedRandomSampler": loader(0, True),
        "torch DataLoader, 2 workers, WeightedRandomSampler": loader(2, True),
    }


def grain_rows(given: Given) -> dict[str, Reader]:
    import grain

    class Records:
        def __len__(self) -> int:
            return len(given.x)

        def __getitem__(self, position: int) -> Any:
            return given.x[position], given.y[position]

    def read(threads: int) -> Reader:
        by_record = grain.MapDataset.source(Records()).shuffle(seed=1).batch(given.batch)
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 1) * 2)
        return lambda: iter(by_record.to_iter_dataset(options))

    return {"grain, by record": read(0), "grain, by record, 2 threads": read(2)}


def tensorflow_rows(given: Given) -> dict[str, Reader]:
    import tensorflow as tf

    whole = tf.data.Dataset.from_tensor_slices((given.x, given.y)).shuffle(len(given.x), seed=1)
    batches = whole.batch(given.batch).prefetch(tf.data.AUTOTUNE)
    return {"tf.data, shuffle and batch": batches.as_numpy_iterator}


def datasets_rows(given: Given) -> dict[str, Reader]:
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features(
        {
            "x": datasets.Sequence(datasets.Value("float32"), length=int(np.prod(given.x.shape[1:]))),
            "y": datasets.Value("int64"),
        }
    )
    table = {"x": given.x.reshape(len(given.x), -1), "y": given.y}
    whole = datasets.Dataset.from_dict(table, features=features).with_format("numpy").shuffle(seed=1)
    return {"Hugging Face datasets": lambda: whole.iter(given.batch)}


def streaming_rows(given: Given) -> dict[str, Reader]:
    import streaming
    import torch

    out = tempfile.mkdtemp(dir=given.root)
    with streaming.MDSWriter(out=f"{out}/mds", columns={"x": "ndarray", "y": "int"}) as writer:
        for x, y in zip(given.x, given.y.tolist(), strict=True):
            writer.write({"x": x, "y": y})
    whole = streaming.StreamingDataset(local=f"{out}/mds", shuffle=True, batch_size=given.batch)
    loader = torch.utils.data.DataLoader(whole, batch_size=given.batch)
    return {"MosaicML streaming": lambda: iter(loader)}


def webdataset_rows(given: Given) -> dict[str, Reader]:
    import webdataset

    out = tempfile.mkdtemp(dir=given.root)
    with webdataset.TarWriter(f"{out}/0.tar") as writer:
        for name, x, y in zip(_ids(len(given.x)), given.x, given.y.tolist(), strict=True):
            writer.write({"__key__": name, "x.npy": x, "y.cls": y})
    whole = webdataset.WebDataset(f"{out}/0.tar", shardshuffle=False).shuffle(1000).decode().to_tuple("x.npy", "y.cls")
    batched = whole.batched(given.batch)
    return {"WebDataset, shuffle(1000)": lambda: iter(batched)}


def imblearn_rows(given: Given) -> dict[str, Reader]:
    from imblearn.keras import BalancedBatchGenerator

    flat = given.x.reshape(len(given.x), -1)
    made = BalancedBatchGenerator(flat, given.y, batch_size=given.batch, random_state=1)
    return {"imbalanced-learn BalancedBatchGenerator": lambda: (made[step] for step in range(len(made)))}


# By group, each with a process of its own: the module that it needs, and its rows.
GROUPS: dict[str, tuple[str, Callable[[Given], dict[str, Reader]]]] = {
    "tailfit": ("tailfit", tailfit_rows),
    "keep_memory": ("tailfit", kept_rows),
    "keras": ("keras", keras_rows),
    "torch": ("torch", torch_rows),
    "grain": ("grain", grain_rows),
    "tensorflow": ("tensorflow", tensorflow_rows),
    "datasets": ("datasets", datasets_rows),
    "streaming": ("streaming", streaming_rows),
    "webdataset": ("webdataset", webdataset_rows),
    "imblearn": ("imblearn", imblearn_rows),
}


def _ids(samples: int) -> list[str]:
    return [f"{number:08d}" for number in range(samples)]


def _samples(batch: Any) -> int:
    while isinstance(batch, dict | tuple | list):
        batch = next(iter(batch.values())) if isinstance(batch, dict) else batch[0]
    return len(batch)


def main() -> None:
    group, root, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    module, make = GROUPS[group]
    answer = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    try:
        importlib.import_module(module)
        rows = make(Given(root, batch))
    except Exception as error:
        print(json.dumps({"absent": f"{type(error).__name__}: {str(error).splitlines()[0]}"}), file=answer, flush=True)
        return
    print(json.dumps({"rows": list(rows)}), file=answer, flush=True)
    for line in sys.stdin:
        reader, samples = rows[json.loads(line)], 0
        start = time.perf_counter()
        for given in reader():
            samples += _samples(given)
        print(json.dumps({"seconds": time.perf_counter() - start, "samples": samples}), file=answer, flush=True)


if __name__ == "__main__":
    main()
