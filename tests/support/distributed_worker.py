"""One worker of a test: `python -m support.distributed_worker BACKEND RANK WORLD PORT PARTS OUT CASE,... [KEY=VALUE]`.

It runs the trainings one after the other, and writes what each ends with to `OUT/CASE.RANK.npz`.

Keys: `resume` (directory of the checkpoints), `pause` (seconds after each step), `exact` (0: a plain all-reduce),
`break` (seeds, tree or data: what this worker does differently), `timeout` (seconds), `sockets` (1: write the
listening sockets).
"""

import faulthandler
import os
import signal
import sys
import time
import traceback
from pathlib import Path


def main() -> None:
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1)
    backend, rank, world, port, parts, out, names = sys.argv[1:8]
    options = dict(option.split("=", 1) for option in sys.argv[8:])
    os.environ.update(KERAS_BACKEND=backend, OMP_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")
    from tailfit.training.workers import joined

    exact, timeout = options.get("exact") != "0", float(options.get("timeout", 100))
    with joined(int(rank), int(world), "127.0.0.1", int(port), timeout=timeout, exact=exact) as others:
        import numpy as np
        from support.distributed_cases import train

        if backend == "jax":  # programs run a few times: compiling takes most of the time
            import jax

            jax.config.update("jax_disable_most_optimizations", True)
        broken(options.get("break"), int(rank))
        for name in names.split(","):
            start = time.perf_counter()
            directory = Path(options["resume"]) / name if "resume" in options else None
            try:
                found = train(name, int(parts), directory, slowed(float(options.get("pause", 0))) if directory else ())
            except Exception as error:
                traceback.print_exc()  # the other trainings are still of interest
                print(f"rank {rank}: {name} {type(error).__name__}: {error}", flush=True)
                continue
            partial = Path(out) / f".{name}.{rank}.npz"
            np.savez(partial, **found)
            partial.rename(Path(out) / f"{name}.{rank}.npz")
            print(f"rank {rank}: {name} {time.perf_counter() - start:.1f} s", flush=True)
        print(f"rank {rank}: {others.messages} messages, {others.bytes} bytes", flush=True)
        if options.get("sockets"):
            (Path(out) / f"sockets.{rank}").write_text("\n".join(listening()))


def slowed(seconds: float) -> list[object]:
    import keras

    class Pause(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            print(f"step {batch}", flush=True)
            time.sleep(seconds)

        def get_state(self) -> dict[str, object]:
            return {}

        def set_state(self, state: object) -> None:
            pass

    return [Pause()]


def broken(what: str | None, rank: int) -> None:
    """Break one of the rules by which the numbers do not depend on the workers."""
    from tailfit.training.parts import state, stepper

    if what == "seeds":  # drawn by worker, not by piece
        own = state.Seeds.begin_piece
        state.Seeds.begin_piece = lambda self, piece: own(self, piece + 100 * rank)
    elif what == "tree":  # from left to right, over what this worker has received

        def folded(node, known, add):
            if node in known or len(known) < 3:
                return tree(node, known, add)
            (first, value), *others = [pair for pair in sorted(known.items()) if pair[1] is not None]
            for other, vectors in others:
                value = add(first, value, other, vectors)
                first = (first[0], other[1])
            return value

        tree = stepper.combined
        stepper.combined = folded
    elif what == "data" and rank:
        from support import distributed_cases

        given = distributed_cases.data

        def once(*args):  # in the first training only
            distributed_cases.data = given
            return tuple(part[::-1].copy() for part in given(*args))

        distributed_cases.data = once


def listening() -> list[str]:
    """Return the addresses of the TCP sockets on which this process listens."""
    links = [Path("/proc/self/fd") / number for number in os.listdir("/proc/self/fd")]
    own = {os.readlink(link) for link in links if os.path.lexists(link)}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, address, _, status, *_, inode = line.split()[:10]
            if status == "0A" and f"socket:[{inode}]" in own:
                found.append(address)
    return found


if __name__ == "__main__":
    main()
