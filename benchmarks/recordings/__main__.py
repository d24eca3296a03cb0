"""Time to open a folder of recordings and to read windows of it, side by side with polars' scan and np.take.

    python benchmarks/recordings [--data FOLDER] [--repeats 15] [--out benchmarks/recordings/results.txt]

Without `--data`: 537 Parquet files of 1,800 rows with a text of time, eight float32 sensors and a label, as in the
public 3W data set at 0.1 Hz. Alternatives take turns, so that a busy machine slows all of them; shown are the median
and the best wall-clock time, and their ratio to the alternative that is named. Opening reads labels and times, parses
the times and checks their order. `pack` writes the recordings; windows of the packed copy are read in random batches,
next to `np.take` from an array in memory that contains all windows. A record and start are looked up for each window,
so short windows in small batches cost most. "NumPy alone" is the same copy from the recordings without checks of the
positions and readings, where the first step of each window is already known: the limit for windows that are not stored
one by one, which for a stride of a third of the length take three times the memory.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tailfit
from tailfit.data import Packed, Recordings, Windows, pack

FILES, ROWS, SENSORS = 537, 1_800, 8
SHAPES = ((18, 6, 256), (18, 6, 1024), (128, 32, 256))  # length and stride of windows, size of a batch


def write(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(FILES):
        at = np.datetime64("2024-05-31T00:00:00.000000") + np.arange(ROWS) * np.timedelta64(10, "s")
        columns: dict[str, Any] = {"timestamp": pl.Series(at).dt.to_string("%Y-%m-%d %H:%M:%S%.6f")}
        walks = rng.normal(size=(ROWS, SENSORS)).cumsum(axis=0).astype("float32")
        columns |= {f"sensor {place}": walks[:, place] for place in range(SENSORS)}
        columns["class"] = np.repeat([0, 100 + number % 7, number % 7], ROWS // 3).astype("int16")
        pl.DataFrame(columns).write_parquet(folder / f"run {number:03d}.parquet")


def take_turns(alternatives: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call of each alternative."""
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for call in alternatives.values():
        call()  # once before, so that files are in the page cache
    for _ in range(repeats):
        for name, call in alternatives.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def table(times: dict[str, list[float]], reference: str, scale: float, unit: str) -> list[str]:
    lines = []
    for name, seconds in times.items():
        median, best = statistics.median(seconds), min(seconds)
        own = statistics.median(one / other for one, other in zip(seconds, times[reference], strict=True))
        ratio = f"{own:6.2f} x" if name != reference else ""
        lines.append(
            f"{name:58} median {median * scale:8.3f} {unit}, best {best * scale:8.3f} {unit}  {ratio}".rstrip()
        )
    return lines


def opening(folder: Path, repeats: int) -> list[str]:
    paths = sorted(folder.glob("*.parquet"))
    parsed = pl.col("timestamp").str.to_datetime()
    times = take_turns(
        {
            "polars: scan of all columns": lambda: pl.scan_parquet(paths).collect(),
            "polars: scan of time and label, times parsed": lambda: (
                pl.scan_parquet(paths).select(parsed, "class").collect()
            ),
            "polars: scan of time and label as they are": lambda: (
                pl.scan_parquet(paths).select("timestamp", "class").collect()
            ),
            "Recordings(folder)": lambda: Recordings(folder, metadata=None),
            "Recordings(folder, time=None)": lambda: Recordings(folder, metadata=None, time=None),
        },
        repeats,
    )
    return table(times, "polars: scan of all columns", 1e3, "ms")


def windows(folder: Path, repeats: int, length: int, stride: int, size: int) -> list[str]:
    source = Recordings(folder, metadata=None)
    with tempfile.TemporaryDirectory() as out:
        pack(source, f"{out}/packed")
        packed = Windows(Packed(f"{out}/packed", memory=True), length, stride)
        from_files = Windows(Packed(f"{out}/packed", memory=False), length, stride)
        of_tables = Windows(source, length, stride)
        every = packed.read(np.arange(len(packed)))
        rng = np.random.default_rng(0)
        batches = [rng.integers(0, len(packed), size) for _ in range(200)]
        alone = numpy_alone(source, packed)
        np.testing.assert_array_equal(from_files.read(batches[0]), every[batches[0]])
        np.testing.assert_array_equal(alone(batches[0]), every[batches[0]])
        np.testing.assert_array_equal(of_tables.read(batches[0]), every[batches[0]])

        def each(read: Callable[[Any], Any]) -> None:
            for batch in batches:
                read(batch)

        times = take_turns(
            {
                "np.take of all windows in one array": partial(each, lambda batch: np.take(every, batch, axis=0)),
                "NumPy alone, from the recordings": partial(each, alone),
                "Windows(Packed(...)).read, in memory": partial(each, packed.read),
                "Windows(Packed(...)).read, from files": partial(each, from_files.read),
                "Windows(Recordings(...)).read, in memory": partial(each, of_tables.read),
            },
            repeats,
        )
    heading = f"{len(every):,} windows of {every.shape[1:]} {every.dtype}, batches of {size}"
    return ["", heading, *table(times, "np.take of all windows in one array", 1e6 / len(batches), "us")]


def numpy_alone(source: Recordings, cut: Windows) -> Callable[[Any], Any]:
    """Return a function that copies windows from an array of all steps, by one look-up and one copy each."""
    values = np.concatenate([source.read([record])[0] for record in range(len(source))])
    begins = dict(zip(source.ids, np.cumsum(source.lengths) - source.lengths, strict=True))
    first = np.array([begins[record] for record in cut.metadata["record"]]) + cut.metadata["start"].to_numpy()
    step = values.strides[0]
    window = np.dtype((np.void, step * cut.length))
    contents = values.reshape(-1).view(np.uint8)
    overlapping = np.ndarray((len(values) - cut.length + 1,), window, contents, strides=(step,))
    return lambda batch: overlapping[first[batch]].view(values.dtype).reshape(-1, cut.length, values.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.data or Path(made)
        if options.data is None:
            write(folder)
        rows = sum(pl.scan_parquet(path).select(pl.len()).collect().item() for path in folder.glob("*.parquet"))
        lines = [
            f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
            f"Python {platform.python_version()}, NumPy {np.__version__}, polars {pl.__version__}, "
            f"tailfit {tailfit.__version__}",
            "",
            f"opening {len(list(folder.glob('*.parquet')))} recordings of {rows:,} rows",
            *opening(folder, options.repeats),
            *(line for shape in SHAPES for line in windows(folder, options.repeats, *shape)),
        ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
