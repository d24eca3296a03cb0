"""The remedies against published figures: Gaussians, long-tailed MNIST, Tennessee Eastman root causes, label noise.

    KERAS_BACKEND=jax python benchmarks/yardsticks --data DIR --out DIR [--only gaussians tep] [--seeds 2]
    KERAS_BACKEND=torch python benchmarks/yardsticks --data DIR --out DIR --only speed     # once a backend
    python benchmarks/yardsticks --out benchmarks/yardsticks/runs --table benchmarks/yardsticks/results.txt

--jobs N has N runs at a time, each in a process of its own: on a machine with many cores, or with a GPU that one small
network can't fill (XLA_PYTHON_CLIENT_MEM_FRACTION=0.04 for JAX, which else takes the whole memory for one process).
--data has mnist.npz (X, y, is_train) and tep_windows.npz (X, y, y_names, is_train, run, t0). A finished run is a line
in --out/<yardstick>.jsonl and is never run again: stop the script at any time, and start it again with the same call.
After a change of a budget or a network, begin another --out: old and new runs would stand in one table.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from performing import YARDSTICKS, perform, perform_by_name
from store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it nothing is run")
    parser.add_argument("--out", type=Path, default=Path("runs/yardsticks"), help="folder of the finished runs")
    parser.add_argument("--only", nargs="+", choices=YARDSTICKS, default=list(YARDSTICKS))
    parser.add_argument("--remedies", nargs="+", help="only these, by name")
    parser.add_argument("--seeds", type=int, help="so many seeds instead of all")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--table", type=Path, help="also write the table here")
    given = parser.parse_args()
    store = Store(given.out)
    left = [
        run
        for name in (given.only if given.data else ())
        for run in YARDSTICKS[name].runs(given.data, given.seeds)
        if not store.finished(run) and (given.remedies is None or run.remedy in given.remedies)
    ]
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
            lines += ["", *yardstick.table(store)]
    print("\n".join(lines))
    if given.table:
        given.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
