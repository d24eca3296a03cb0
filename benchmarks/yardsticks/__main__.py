"""The remedies against published figures: Gaussians, long-tailed MNIST, Tennessee Eastman, label noise, UCR archive.

    KERAS_BACKEND=jax python benchmarks/yardsticks --data DIR --out DIR [--only gaussians tep] [--seeds 2]
    KERAS_BACKEND=torch python benchmarks/yardsticks --data DIR --out DIR --only speed     # once a backend
    python benchmarks/yardsticks --out benchmarks/yardsticks/runs --table benchmarks/yardsticks/results.txt

--jobs N has N runs at a time, each in a process of its own: on a machine with many cores, or with a GPU that one small
network can't fill (XLA_PYTHON_CLIENT_MEM_FRACTION=0.04 for JAX, which else takes the whole memory for one process).
--data has mnist.npz (X, y, is_train), tep_windows.npz (X, y, y_names, is_train, run, t0) and ucr/<set>.npz (X, y,
y_names, is_train). A finished run is a line in --out/<yardstick>.jsonl and is never run again: stop the script at any
time, and start it again with the same call. All runs of one seed come before those of the next, so what is finished
can be compared; the table lists what is left.
After a change of a budget or a network, use another --out, so that old and new runs are not mixed in one table.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from multiprocessing import get_context
from pathlib import Path

from performing import YARDSTICKS, perform, perform_by_name
from store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it nothing is run")
    parser.add_argument("--out", type=Path, default=Path("runs/yardsticks"), help="folder of the finished runs")
    parser.add_argument("--only", nargs="+", choices=YARDSTICKS, default=list(YARDSTICKS))
    parser.add_argument("--remedies", nargs="+", help="only these, by name or pattern, such as '*inception_time*whole'")
    parser.add_argument("--seeds", type=int, help="so many seeds instead of all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", type=Path, help="also write the table here")
    given = parser.parse_args()
    store = Store(given.out)
    left = [
        run
        for name in (given.only if given.data else ())
        for run in YARDSTICKS[name].runs(given.data, given.seeds)
        if not store.finished(run) and any(fnmatchcase(run.remedy, each) for each in given.remedies or ["*"])
    ]
    left.sort(key=lambda run: run.seed)
    if given.jobs == 1:
        for run in left:
            perform(run, store)
    else:
        with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
            for done in [pool.submit(perform_by_name, run.yardstick, run.name, given.data, store) for run in left]:
                done.result()
    lines = [
        "$ python benchmarks/yardsticks --out benchmarks/yardsticks/runs --table benchmarks/yardsticks/results.txt",
        "made by: KERAS_BACKEND=jax python benchmarks/yardsticks --data DIR --out benchmarks/yardsticks/runs",
    ]
    if not any(map(store.rows, YARDSTICKS)):
        parser.exit(message=f"nothing is finished in {given.out}; --data DIR runs the yardsticks\n")
    for name, yardstick in YARDSTICKS.items():
        if store.rows(name):
            lines += ["", *yardstick.table(store), *left_of(name, store)]
    print("\n".join(lines))
    if given.table:
        given.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


def left_of(name: str, store: Store) -> list[str]:
    """Describe which runs of a yardstick are not finished, and the command that continues; empty if all are."""
    planned = list(YARDSTICKS[name].runs(Path(), None))
    left = [run for run in planned if not store.finished(run)]
    if not left or name == "speed":  # a run for each backend
        return []
    seeds = sorted({run.seed for run in left})
    return [
        f"    left: {len(left)} of {len(planned)} runs, of the seeds {', '.join(map(str, seeds))}; to continue:",
        f"    python benchmarks/yardsticks --data DIR --out benchmarks/yardsticks/runs --only {name}",
    ]


if __name__ == "__main__":
    main()
