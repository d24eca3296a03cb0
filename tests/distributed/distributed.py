"""Parts and workers: the same bits with 1, 2 and 4 workers, also after kills. Writes `distributed.txt` beside it.

    python tests/distributed/distributed.py --kills 50 --backends torch,jax

- *battery*: every training of `support/distributed_cases.py` with 1, 2 and 4 workers, compared bit by bit.
- *ablations*: the same with one rule broken; each must end with other bits, which shows that the battery would notice.
- *kills*: a random worker is killed at a random step, and the others must end with an error; all start again, with 1, 2
  or 4 workers, until the training ends: with the bits of a run that was never killed.

Where the system permits it, everything runs in a network namespace that has a loopback interface only.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "src"), str(HERE.parent)]

import numpy as np  # noqa: E402
from support.distributed_runs import difference, log_of, run, workers  # noqa: E402

CASES = "plain,weighted,summed,short,mixed,robust,counting,scheduled,frozen,half,masked,several,custom,inputs"
ALONE = "TAILFIT_ALONE_ON_THE_NETWORK"  # set in the process that has a network namespace of its own
UP = "import fcntl,socket,struct;s=socket.socket();fcntl.ioctl(s,0x8914,struct.pack('16sh',b'lo',0x41))"


def alone_on_the_network() -> bool:
    """Start this script again in a private network namespace if that is permitted; return whether it is there."""
    if os.environ.get(ALONE):
        return True
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode:
        return False
    script = f'"{sys.executable}" -c "{UP}" && exec "$@"'
    command = ["unshare", "-n", "sh", "-c", script, "sh", sys.executable, *sys.argv]
    os.execvpe("unshare", command, {**os.environ, ALONE: "1"})
    return True


def battery(backend: str, folder: Path, worlds: list[int], cases: list[str]) -> Iterator[str]:
    for world in worlds:
        run(backend, world, folder / f"{world}", cases, 3600, sockets=1)
    for case in cases:
        found = [
            difference(folder / "1" / f"{case}.0.npz", folder / f"{world}" / f"{case}.{rank}.npz")
            for world in worlds[1:]
            for rank in range(world)
        ]
        yield f"{backend:6} battery   {case:10} {' = '.join(map(str, worlds))}: " + (
            "equal" if not any(found) else "DIFFERENT " + next(filter(None, found))
        )
    addresses = [line for path in folder.glob("*/sockets.*") for line in path.read_text().split()]
    loopback = all(address.split(":")[0].endswith("0100007F") for address in addresses)
    yield f"{backend:6} sockets   {len(addresses)} listening sockets: " + (
        "all loopback" if loopback else "NOT LOOPBACK"
    )
    for world in worlds[1:]:
        counted = next((line for line in log_of(folder / f"{world}", 0).splitlines() if " messages, " in line), "")
        yield f"{backend:6} messages  {world} workers, all trainings: {counted.partition(': ')[2]}"


def ablations(backend: str, folder: Path) -> Iterator[str]:
    for what in ("tree", "seeds"):
        run(backend, 4, folder / what, ["weighted"], **{"break": what})
        found = difference(folder / "1" / "weighted.0.npz", folder / what / "weighted.0.npz")
        yield f"{backend:6} ablation  {what:10} " + (f"noticed: {found}" if found else "NOT NOTICED")
    run(backend, 2, folder / "close", ["weighted"], exact=0)
    one, other = (np.load(folder / name / "weighted.0.npz") for name in ("1", "close"))
    far = max(np.abs(one[k].astype("float64") - other[k]).max() for k in one if k.startswith("variable"))
    yield f"{backend:6} exact=False, 2 workers: weights differ by {far:.1e}"


def ended_well(process: subprocess.Popen[bytes], out: Path, rank: int, reference: Path) -> bool:
    """Whether a survivor ended with an error, or with the right bits: it had all that it needed before the kill."""
    done = "WorkerError" in log_of(out, rank) or not difference(reference, out / f"weighted.{rank}.npz")
    return process.poll() is not None and done


def where_it_is(process: subprocess.Popen[bytes], out: Path, rank: int) -> str:
    """Describe a survivor that should have ended: its exit status, or the stacks of its threads."""
    if process.poll() is not None:
        return f"worker {rank} ended with {process.returncode}:\n{log_of(out, rank)[-2000:]}"
    process.send_signal(signal.SIGUSR1)  # it writes the stacks to its log
    time.sleep(5)
    return f"worker {rank} still runs:\n{log_of(out, rank)[-6000:]}"


def kills(backend: str, folder: Path, wanted: int, seed: int) -> Iterator[str]:
    rng, done, late, runs, different = random.Random(seed), 0, 0, 0, 0
    slowest = 0.0
    while done < wanted:
        runs += 1
        case, checkpoints = "weighted", folder / f"kill.{runs}"
        for attempt in range(100):
            world = rng.choice([1, 2, 4])
            out = folder / f"kill.{runs}.{attempt}"
            options = {"resume": checkpoints, "pause": 0.1}
            with workers(backend, world, out, [case], **options) as running:
                victim = rng.randrange(world)
                steps = rng.randint(1, 6)
                while running[victim].poll() is None and log_of(out, victim).count("step") < steps:
                    time.sleep(0.05)
                if running[victim].poll() is None and done < wanted:
                    running[victim].kill()
                    done, killed = done + 1, time.monotonic()
                    others = [process for process in running if process is not running[victim]]
                    while any(process.poll() is None for process in others) and time.monotonic() < killed + 60:
                        time.sleep(0.05)
                    slowest = max(slowest, time.monotonic() - killed)
                    wrong = [
                        rank
                        for rank, process in enumerate(running)
                        if rank != victim and not ended_well(process, out, rank, folder / "1" / f"{case}.0.npz")
                    ]
                    late += bool(wrong)
                    for rank in wrong:
                        yield f"{backend:6} kill {done}, {victim} of {world}: {where_it_is(running[rank], out, rank)}"
                    continue
                for process in running:
                    process.wait(600)
            break
        ended = [difference(folder / "1" / f"{case}.0.npz", out / f"{case}.{rank}.npz") for rank in range(world)]
        different += any(ended)
    yield (
        f"{backend:6} kills     {done} workers killed in {runs} runs: {different} ended differently, {late} times a "
        f"survivor did not end, or not with an error or the right bits; the slowest ended after {slowest:.1f} s"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=50, help="number of kills in all")
    options.add_argument("--backends", default="torch,jax")
    options.add_argument("--worlds", default="1,2,4")
    options.add_argument("--cases", default=CASES)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    alone = alone_on_the_network()
    backends, worlds = given.backends.split(","), [int(world) for world in given.worlds.split(",")]
    lines = [f"{' '.join(sys.argv[1:]) or 'defaults'}; in a network namespace of its own: {'yes' if alone else 'no'}"]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tailfit-distributed-") as temporary:
        for number, backend in enumerate(backends):
            folder = Path(temporary) / backend
            share = given.kills // len(backends) + (number < given.kills % len(backends))
            for part in (
                battery(backend, folder, worlds, given.cases.split(",")),
                ablations(backend, folder),
                kills(backend, folder, share, given.seed),
            ):
                for line in part:
                    print(line, flush=True)
                    lines.append(line)
    lines.append(f"{(time.monotonic() - start) / 60:.0f} minutes")
    (HERE / "distributed.txt").write_text("\n".join(lines) + "\n")
    failed = any(word in line for line in lines[1:] for word in ("DIFFERENT", "NOT "))
    sys.exit(failed or any(" killed in " in line and ": 0 ended differently, 0 times" not in line for line in lines))


if __name__ == "__main__":
    main()
