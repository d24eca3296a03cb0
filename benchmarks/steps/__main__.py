"""How fast a step is: tailfit beside built-in `fit` and hand-written loops, on three backends; also memory.

    python benchmarks/steps [--quick] [--repeats 5] [--rounds 20] [--out benchmarks/steps/results.txt]

Each row trains the same network from the same weights with the same optimizer (Adam unless another is named) on the
same data. Its first epoch runs in the order of the arrays: the losses of all rows without Mixup must agree. Timed are
the epochs after it, each in an order newly shuffled, which counts. The rows of one backend, with Mixup or not, take
turns in one process, so that a busy machine slows all of them. Built-in fit is Keras' own, with its own
`jit_compile="auto"`, and has the same arrays; its Mixup is written into its `train_step`. K is `steps_per_execution`;
the eager loop is timed over a sixteenth of the steps. First calls (of 60 batches, compiling included, importing aside)
and peak memory have a process of their own each. What must be close to built-in fit or to the limit is timed again,
beside that only, in many rounds in random order: their ratios have the median shown, and an interval of it from the
bootstrap.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from names import EAGER, FIT, FIT_K, LOOP, OURS, OURS_K, PLAIN, SCAN

# TensorFlow and torch abort in one process: only the children import Keras.
CHILD = Path(__file__).with_name("child.py")
BACKENDS = ("jax", "tensorflow", "torch")
MLP = "MLP 784-64-64-10"
STEPS = {  # of an epoch, and of a quick one: more than a multiple of 32, so that a shorter execution ends it
    MLP: (796, 124),
    "1-D convnet on 128x12": (36, 36),
    "2-D convnet on 28x28x1": (36, 36),
}
SHORT = {OURS: "K=1", OURS_K: "K=32", FIT: "built-in fit", SCAN: "lax.scan", PLAIN: "the loop by hand"}
# Rows that are compared round by round, and how large the ratio of their times may be.
COMPARED: dict[tuple[str, str, str], dict[tuple[str, str], float | None]] = {
    (MLP, "jax", "adam"): {(OURS, FIT): 1.03, (OURS_K, FIT): 0.40, (OURS_K, SCAN): 1.15, (SCAN, FIT): None},
    (MLP, "tensorflow", "adam"): {(OURS, FIT): 1.03},
    (MLP, "torch", "sgd"): {(OURS, FIT): 0.30, (OURS, PLAIN): 1.5},
    (MLP, "torch", "adam"): {(OURS, FIT): 0.40, (OURS, PLAIN): 1.5},
    ("1-D convnet on 128x12", "torch", "adam"): {(OURS, FIT): 0.90, (OURS, PLAIN): None},
}
# The first call on torch records the step.
PEAK, FIRST = {"jax": 1.05, "tensorflow": 1.05, "torch": 1.1}, {"jax": 1.2, "tensorflow": 1.2, "torch": 1.5}
ALIKE = 1e-3  # how far the losses of the first epoch may differ, relatively

Measured = dict[str, Any]
Ratios = dict[tuple[str, str, str, str, str], float]


def measure(backend: str, **given: Any) -> Measured:
    """Run `child.py` in a process of its own; return what it measured, or `{"refused": reason}`."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(CHILD), json.dumps(given)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no message"]
        print(ended.stderr, file=sys.stderr)
        return {"refused": f"exit {ended.returncode}: {lines[-1]}", "rows": [], "reading": [], "versions": {}}
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def speed_table(network: str, measured: dict[str, Measured], steps: int) -> list[str]:
    """Return the table of a network: milliseconds a step, and the ratio to the built-in fit of the same backend."""
    lines = [
        "",
        f"{network}: {steps} steps of 64 an epoch, medians",
        f"{'':63}{'s/epoch':>9}{'ms/step':>9}{'x fit':>7}",
    ]
    lines[-1] += f"{'loss':>9}   Mixup + metrics: {'s/epoch':>9}{'ms/step':>9}{'x fit':>7}{'loss':>9}"
    for backend, found in measured.items():
        lines += [f"  {backend}: {found['refused']}"] if "refused" in found else []
        rows = {(row["name"], row["mixup"]): row for row in found["rows"]}
        notes = []
        for name in dict.fromkeys(row["name"] for row in found["rows"]):
            line = f"{backend:11}{name:52}"
            for mixup in (False, True):
                line += " " * 20 if mixup else ""
                if (name, mixup) not in rows:
                    continue
                row, fit = rows[name, mixup], rows[FIT, mixup]
                if "refused" in row:
                    notes.append(f"{'':11}{name}{' with Mixup' if mixup else ''}: {row['refused'][:150]}")
                    line += f"{'-':>9}{'-':>9}{'-':>7}{'-':>9}"
                    continue
                epoch = statistics.median(row["seconds"])
                times = f"{epoch / statistics.median(fit['seconds']):7.2f}" if fit["seconds"] else f"{'-':>7}"
                line += f"{epoch:9.3f}{epoch / steps * 1e3:9.3f}{times}{row['loss']:9.5f}"
            lines.append(line.rstrip())
        lines += notes
    losses = [row["loss"] for found in measured.values() for row in found["rows"] if not row["mixup"] and "loss" in row]
    if losses:
        apart = (max(losses) - min(losses)) / min(losses)
        lines.append(f"losses of the first epoch without Mixup differ by {apart:.0e}; allowed {ALIKE:.0e}")
        lines += [] if apart <= ALIKE else [f"NOT THE SAME WORK: {sorted(losses)}"]
    return lines


def epoch_seconds(measured: Measured, name: str) -> float | None:
    """Return the median time of a row's epochs without Mixup, if it was measured."""
    found = [row["seconds"] for row in measured["rows"] if row["name"] == name and not row["mixup"] and row["seconds"]]
    return statistics.median(found[0]) if found else None


def taking_turns(quick: bool, rounds: int, versions: dict[str, str]) -> tuple[list[str], Ratios]:
    """Return a table of the ratios of two rows, round by round, on each backend; and their medians."""
    lines = ["", f"{rounds} rounds in random order{'':63}{'median':>8}{'95 % of the median':>20}"]
    medians: Ratios = {}
    for (network, backend, optimizer), pairs in COMPARED.items():
        names = sorted({name for pair in pairs for name in pair})
        given = {"steps": STEPS[network][quick], "names": names, "rounds": rounds, "optimizer": optimizer}
        measured = measure(backend, network=network, **given)
        lines.append(f"{network}, {optimizer}")
        if "refused" in measured:
            lines.append(f"  {backend}: {measured['refused']}")
            continue
        versions.update(measured["versions"])
        for ours, theirs in pairs:
            ratios = [turn[ours] / turn[theirs] for turn in measured["turns"]]
            drawn = random.Random(0)
            again = sorted(statistics.median(drawn.choices(ratios, k=len(ratios))) for _ in range(2000))
            median = medians[network, backend, optimizer, ours, theirs] = statistics.median(ratios)
            lines.append(f"  {backend:11}{f'{ours} / {theirs}':70}{median:7.3f}{again[50]:12.3f} to {again[-51]:.3f}")
    return lines, medians


def where_time_goes(measured: Measured, steps: int) -> list[str]:
    """Return a table of the milliseconds a step of the MLP on JAX: arithmetic, reading, and what fit adds."""
    scan, fit, ours, fused = (epoch_seconds(measured, name) for name in (SCAN, FIT, OURS, OURS_K))
    if None in (scan, fit, ours, fused):
        return []
    reading = statistics.median(measured["reading"])
    parts = {"arithmetic (the scan, which reads too)": scan, "reading shuffled batches with np.take": reading}
    for name, epoch in ((FIT, fit), (OURS, ours), (OURS_K, fused)):
        parts[f"the rest of {name}"] = epoch - scan - reading
    return [
        "",
        "Where time goes (MLP on JAX, ms/step)",
        *(f"{name:46}{part / steps * 1e3:9.3f}" for name, part in parts.items()),
    ]


def first_calls(repeats: int, steps: int, quick: bool) -> tuple[list[str], dict[tuple[str, str], Measured]]:
    """Measure first calls and peak memory of the MLP's rows, medians of `repeats` new processes that take turns."""
    names = [FIT, OURS] if quick else [FIT, FIT_K, LOOP, OURS, OURS_K]
    rows = [(backend, name) for backend in BACKENDS for name in names if not (backend == "torch" and name == FIT_K)]
    rows += [] if quick else [("jax", SCAN)]
    measured: dict[tuple[str, str], list[Measured]] = {row: [] for row in rows}
    for number in range(repeats):
        for backend, name in rows:
            if number and name not in (FIT, OURS, OURS_K):  # the others have no bound: once is enough
                continue
            measured[backend, name].append(measure(backend, network=MLP, steps=steps, row=name))
    lines = ["", f"First call (60 batches) and peak memory, MLP: medians of {repeats} fresh processes"]
    lines.append(f"{'':46}{'first, s':>9}{'x fit':>7}{'MiB':>8}{'x fit':>7}")
    medians: dict[tuple[str, str], Measured] = {}
    for row, runs in measured.items():
        failed = [one["refused"] for one in runs if "refused" in one]
        if not failed:
            medians[row] = {key: statistics.median(one[key] for one in runs) for key in ("first", "peak")}
        line, fit = f"{row[0]:11}{row[1]:35}", medians.get((row[0], FIT))
        if failed or fit is None:
            lines.append(f"{line} {(failed or ['no built-in fit to compare with'])[0][:150]}")
            continue
        first, peak = medians[row]["first"], medians[row]["peak"]
        lines.append(f"{line}{first:9.2f}{first / fit['first']:7.2f}{peak / 2**20:8.0f}{peak / fit['peak']:7.2f}")
    return lines, medians


def targets(measured: dict[str, Measured], medians: dict[tuple[str, str], Measured], ratios: Ratios) -> list[str]:
    """Return the table of the bounds to reach, each with what was measured."""
    bounds: list[tuple[str, float | None, float]] = []
    for (network, backend, optimizer), pairs in COMPARED.items():
        for (ours, theirs), bound in pairs.items():
            if bound is not None:
                what = f"{backend}, {network}, {optimizer}: {SHORT[ours]} to {SHORT[theirs]}, time"
                bounds.append((what, ratios.get((network, backend, optimizer, ours, theirs)), bound))
    loop, tape = epoch_seconds(measured["jax"], LOOP), epoch_seconds(measured["tensorflow"], EAGER)
    bounds.append(("function loop on jax to eager tape loop, time", loop / tape if loop and tape else None, 1 / 20))
    for key, what, most in (("peak", "peak memory", PEAK), ("first", "first call", FIRST)):
        for backend in BACKENDS:
            for name in (OURS, OURS_K):
                ours, fit = (medians.get((backend, row), {}).get(key) for row in (name, FIT))
                ratio = ours / fit if ours and fit else None
                bounds.append((f"{backend}, {MLP}: {SHORT[name]} to built-in fit, {what}", ratio, most[backend]))
    lines = ["", f"{'Must reach':74}{'measured':>10}{'at most':>9}"]
    for what, ratio, bound in bounds:
        if ratio is None:
            lines.append(f"{what:74}{'-':>10}{bound:9.2f}  not measured")
        else:
            lines.append(f"{what:74}{ratio:10.3f}{bound:9.2f}  {'reached' if ratio <= bound else 'MISSED'}")
    limit = ratios.get((MLP, "jax", "adam", SCAN, FIT))
    lines += [] if limit is None else [f"{'(the limit itself on jax, lax.scan to built-in fit)':74}{limit:10.3f}"]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shows that it runs, not how fast")
    parser.add_argument("--repeats", type=int, help="timed epochs a row: 5, quick 1")
    parser.add_argument("--rounds", type=int, help="of the rows that take turns: 20, quick 3")
    parser.add_argument("--out", type=Path, help="write the text there, too")
    parser.add_argument("--turns", action="store_true", help="only the rows that take turns")
    given = parser.parse_args()
    repeats = given.repeats or (1 if given.quick else 5)
    began, load = time.perf_counter(), os.getloadavg()[0]
    lines: list[str] = []
    mlp: dict[str, Measured] = {}
    versions: dict[str, str] = {}
    for network, of_epoch in STEPS.items():
        if given.turns or (given.quick and network != MLP and network != "1-D convnet on 128x12"):
            continue
        steps = of_epoch[given.quick]
        backends = ("jax",) if given.quick and network != MLP else BACKENDS
        measured = {backend: measure(backend, network=network, steps=steps, repeats=repeats) for backend in backends}
        lines += speed_table(network, measured, steps)
        mlp = mlp or measured
        for found in measured.values():
            versions.update(found["versions"])
    turn_lines, ratios = taking_turns(given.quick, given.rounds or (3 if given.quick else 20), versions)
    if given.turns:
        lines += turn_lines
    else:
        steps = STEPS[MLP][given.quick]
        first_lines, medians = first_calls(1 if given.quick else 3, steps, given.quick)
        lines += [*where_time_goes(mlp["jax"], steps), *first_lines, *turn_lines, *targets(mlp, medians, ratios)]
    text = "\n".join(
        [
            f"$ python benchmarks/steps {' '.join(sys.argv[1:])}".rstrip(),
            f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, {platform.system()} {platform.release()}",
            ", ".join(f"{name} {number}" for name, number in versions.items()),
            *([] if given.turns else [f"{repeats} timed epochs a row; {time.perf_counter() - began:.0f} s in all"]),
            *lines,
        ]
    )
    print(text)
    if given.out:
        given.out.write_text(text + "\n")
    return any(line.startswith("NOT THE SAME WORK") for line in lines)


if __name__ == "__main__":
    sys.exit(main())
