"""Time of each loss, forward and gradient, as a multiple of Keras' cross-entropy on the same scores and labels.

    python benchmarks/losses [--backends jax tensorflow torch recorded] [--classes 20 1000] [--rounds 15] [--out FILE]

Batches of 256 logits on one core, in a process that keeps its memory (`tailfit.keep_memory()`). Softmax losses are
compared with SparseCategoricalCrossentropy(from_logits=True) on class indices, sigmoid losses with
BinaryCrossentropy(from_logits=True) on rows of 0 and 1. On JAX and TensorFlow a loss and its gradient are one compiled
function; on torch they run operation by operation, and in the columns "recorded" ours are recorded graphs, as in
`tailfit.Model.fit`. All losses take turns in each round. Shown are the median of the
processor time, and the medians over the rounds of two ratios: to Keras, and to the limit, the same function written by
hand in the backend (limits.py).
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from by_backend import heading, measured, put_out  # noqa: E402

LIMIT = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch", "recorded"])
    parser.add_argument("--classes", nargs="+", type=int, default=[20, 1000])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for backend in given.backends:
        for classes in given.classes:
            name = "torch" if backend == "recorded" else backend
            found[backend, classes] = measured(HERE / "child.py", name, classes, given.rounds, backend)
    heads = [f"{backend} {classes}" for backend, classes in found]
    lines = [
        *heading("losses", f"batches of 256: microseconds, x Keras' (! above {LIMIT:g}), x the limit by hand"),
        f"{'classes':28}" + "".join(f"{head:>22}" for head in heads),
    ]
    for name in next(iter(found.values())):
        cells = []
        for one in found.values():
            took, to_keras, to_limit = one[name]
            ratio = "" if to_keras is None else f"{to_keras:6.2f}{'!' if to_keras > LIMIT else ' '}{to_limit:6.2f}"
            cells.append(f"{took:9.0f}{ratio:13}")
        lines.append(f"{name:28}" + "".join(cells))
    put_out(lines, given.out)


if __name__ == "__main__":
    main()
