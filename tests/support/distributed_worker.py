"""One worker of a test: `python -m support.distributed_worker BACKEND RANK WORLD PORT PARTS OUT CASE,CASE,...`.

It runs the trainings one after the other, and writes what each ends with to `OUT/CASE.RANK.npz`.
"""

import os
import sys
import time
import traceback
from pathlib import Path


def main() -> None:
    backend, rank, world, port, parts, out, names = sys.argv[1:8]
    os.environ.update(KERAS_BACKEND=backend, OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")
    from tailfit.training.workers import joined

    with joined(int(rank), int(world), "127.0.0.1", int(port), timeout=60):
        import numpy as np
        from support.distributed_cases import train

        if backend == "jax":  # programs run a few times: compiling takes most of the time
            import jax

            jax.config.update("jax_disable_most_optimizations", True)
        for name in names.split(","):
            start = time.perf_counter()
            try:
                found = train(name, int(parts))
            except Exception:
                traceback.print_exc()  # the other trainings are still of interest
                continue
            np.savez(Path(out) / f"{name}.{rank}.npz", **found)
            print(f"rank {rank}: {name} {time.perf_counter() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
