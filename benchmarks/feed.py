"""How fast batches arrive: tailfit beside a hand-written np.load generator, torch's DataLoader and the limit of memory.

    python benchmarks/feed.py [--samples 5000] [--shape 128,12] [--batch 256] [--repeats 5] [--folder DIR]

Random order, the same in every row; the page cache is warm (a pass before the timed ones reads every file). PyTorch's
DataLoader reads the records of an array in memory one by one, as its users write it, in the calling process. Each row
is timed `--repeats` times, interleaved with the others so that a busy machine slows all of them; shown are the median
and the fastest. Rows that read files read the same files. Rows with * draw at random: in another order.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

import tailfit

Reader = Callable[[], Iterator[np.ndarray]]


def peers(folder: Path, x: np.ndarray, batch: int) -> dict[str, Reader]:
    """Each gives one epoch of batches of x; all in the order of the first."""
    labels = {path.stem: number % 10 for number, path in enumerate(sorted(folder.glob("*.npy")))}
    source = tailfit.data.NpyFolder(folder, labels)
    arrays = tailfit.data.Arrays(x, list(labels.values()))
    tailfit.data.pack(source, folder.parent / "packed")
    packed, on_disk = (tailfit.data.Packed(folder.parent / "packed", memory=memory) for memory in (True, False))
    buffer = np.empty((batch, *x.shape[1:]), x.dtype)
    order = tailfit.Batches(source, batch, seed=1)
    steps = range(len(order))
    indices = [order.indices(0, step) for step in steps]
    paths = [str(folder / f"{name}.npy") for name in source.ids]

    def generator() -> Iterator[np.ndarray]:
        for chosen in indices:
            out = np.empty((len(chosen), *x.shape[1:]), x.dtype)
            for row, position in enumerate(chosen.tolist()):
                out[row] = np.load(paths[position])
            yield out

    def take_into_a_buffer() -> Iterator[np.ndarray]:
        for chosen in indices:
            yield x.take(chosen, axis=0, out=buffer[: len(chosen)], mode="clip")

    def batches_of(source: tailfit.data.Source, **given: Any) -> Reader:
        fed = tailfit.Batches(source, batch, seed=1, **given)
        return lambda: (given[0] for given in fed.iterate(0))

    return {
        "np.load generator (hand-written)": generator,
        "NpyFolder.read": lambda: (source.read(chosen) for chosen in indices),
        "Batches(NpyFolder), no read-ahead": batches_of(source, prefetch=0),
        "Batches(NpyFolder)": batches_of(source),
        **of_torch(x, indices),
        "np.take(out=) (limit)": take_into_a_buffer,
        "np.take": lambda: (x.take(chosen, axis=0) for chosen in indices),
        "Arrays.read": lambda: (arrays.read(chosen) for chosen in indices),
        "Batches(Arrays)": batches_of(arrays),
        "Batches(Packed)": batches_of(packed),
        "Batches(Packed), ClassBalanced *": batches_of(packed, sampler=tailfit.samplers.ClassBalanced()),
        "Batches(Packed), Bootstrap *": batches_of(packed, sampler=tailfit.samplers.Bootstrap()),
        "Batches(Packed), from its files": batches_of(on_disk),
    }


def of_torch(x: np.ndarray, indices: list[np.ndarray]) -> dict[str, Reader]:
    """PyTorch's loaders of the same batches; none where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch

    class Records(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, position: int) -> torch.Tensor:
            return torch.from_numpy(x[position])

    weighted = torch.utils.data.WeightedRandomSampler(torch.ones(len(x)), len(x))
    loaders = {
        "torch DataLoader": {"batch_sampler": [chosen.tolist() for chosen in indices]},
        "torch DataLoader, WeightedRandomSampler *": {"sampler": weighted, "batch_size": len(indices[0])},
    }
    made = {name: torch.utils.data.DataLoader(Records(), **given) for name, given in loaders.items()}
    return {name: partial(map, lambda batch: batch.numpy(), loader) for name, loader in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--shape", default="128,12")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to put the files; a temporary folder without it")
    given = parser.parse_args()
    shape = tuple(map(int, given.shape.split(",")))
    x = np.random.default_rng(0).normal(size=(given.samples, *shape)).astype("float32")
    with tempfile.TemporaryDirectory(dir=given.folder) as root:
        tailfit.data.save_npy_folder(Path(root) / "set", x, ids=[f"{number:08d}" for number in range(len(x))])
        rows = peers(Path(root) / "set" / "data", x, given.batch)
        expected = [chosen.copy() for chosen in rows["np.take"]()]
        for name, reader in rows.items():  # warms the cache, and shows that all rows do the same work
            for got, truth in zip(reader(), expected, strict=True):
                if name.endswith("*"):
                    continue
                np.testing.assert_array_equal(got, truth, err_msg=name)
        rates: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(given.repeats):
            for name, reader in rows.items():
                start = time.perf_counter()
                for _ in reader():
                    pass
                rates[name].append(len(x) / (time.perf_counter() - start))
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, Keras {keras.version()}, "
        f"tailfit {tailfit.__version__}"
    )
    print(f"{len(x)} samples of {shape} float32, batches of {given.batch}, random order, page cache warm")
    slowest = statistics.median(rates["np.load generator (hand-written)"])
    print(f"\n{'':44}{'median/s':>12}{'best/s':>12}{'x np.load':>12}")
    for name, measured in rates.items():
        median = statistics.median(measured)
        print(f"{name:44}{median:12,.0f}{max(measured):12,.0f}{median / slowest:12.1f}")


if __name__ == "__main__":
    main()
