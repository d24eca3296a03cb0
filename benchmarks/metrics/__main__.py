"""What each metric adds to a training step, as a share of the step without metrics.

    python benchmarks/metrics [--backends jax tensorflow torch] [--rounds 7] [--steps 300] [--out results.txt]

`tailfit.Model.fit` of two small MLPs in batches of 64 with Adam, on one thread. All metrics take turns in each round;
shown are the medians over the rounds of the extra time of a step divided by the time without metrics, and as a
reference Keras' accuracy. The goal is at most 0.1. What is computed once, at the end of an epoch, is left out.
On torch, in parentheses, the limit: an update of the same sums by hand (limits_torch.py), in the same step.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))
from by_backend import heading, measured, put_out  # noqa: E402

LIMIT = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for backend in given.backends:
        for network, rows in measured(HERE / "child.py", backend, given.rounds, given.steps).items():
            found[f"{backend}, {network}"] = rows
    lines = [
        *heading(
            "metrics", f"a step in microseconds; what a metric adds, as a share of it (! above {LIMIT:g}; by hand)"
        ),
        f"{'':24}" + "".join(f"{head:>26}" for head in found),
    ]
    for name in next(iter(found.values())):
        cells = []
        for rows in found.values():
            value, by_hand = rows[name]
            text = f"{value:.0f}" if name == "no metric" else f"{value:.2f}{'!' if value > LIMIT else ' '}"
            cells.append(f"{text:>20}{'' if by_hand is None else f'({by_hand:.2f})':6}")
        lines.append(f"{name:24}" + "".join(cells))
    put_out(lines, given.out)


if __name__ == "__main__":
    main()
