"""Time of each row of the benchmarks in processes that keep freed memory, as a share of that in processes that don't.

    python benchmarks/kept [NAME | "NAME OPTIONS" ...] [--table benchmarks/kept/results.txt]

Runs each benchmark twice, by `scripts/bench --not-kept` and `--kept`, and writes what they print to the folders
not_kept and kept beside this file. The table is made of all files there; without a NAME, nothing runs. A benchmark's
two runs are minutes apart, unlike the rows of one run: on a machine that others use, shares near 1 mean nothing.
"""

import argparse
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
WAYS = ("not_kept", "kept")
Rows = Iterator[tuple[str, float]]  # a row's name, and a number that grows with its time


def steps(lines: list[str]) -> Rows:
    network = ""
    for line in lines:
        if "steps of 64 an epoch" in line:
            network = line.partition(":")[0]
        elif "peak memory" in line:
            return
        found = re.match(r"(jax|tensorflow|torch)\s+(\S.*?)\s{2,}([\d.]+)\s+[\d.]+\s+[\d.]+", line)
        if found and network:
            yield f"{found[2]}, {found[1]}, {network}", float(found[3])


def torch_graph(lines: list[str]) -> Rows:
    network = ""
    for line in lines:
        if "medians of" in line:
            network = line.partition(", 60")[0].partition(", 200")[0]
        if found := re.match(r"  (\S.*?)\s{2,}([\d.]+) ms/step", line):
            yield f"{found[1]}, {network}", float(found[2])


def losses(lines: list[str]) -> Rows:
    heads: list[str] = []
    for line in lines:
        if line.startswith("classes "):
            heads = re.split(r"\s{2,}", line.strip())[1:]
        elif heads and line.strip():
            numbers = line[28:].replace("!", " ").split()
            apart = len(numbers) // len(heads)
            for at, head in enumerate(heads):
                yield f"{line[:28].strip()}, {head}", float(numbers[at * apart])


def metrics(lines: list[str]) -> Rows:
    heads: list[str] = []
    steps: list[float] = []
    for line in lines:
        if "500-96-48-8" in line:
            heads = re.split(r"\s{2,}", line.strip())
        elif heads and line.strip():
            numbers = [float(number) for number in re.sub(r"\(.*?\)|!", " ", line[24:]).split()]
            steps = steps or numbers
            for head, step, number in zip(heads, steps, numbers, strict=True):
                yield f"{line[:24].strip()}, {head}", number if numbers is steps else step * (1 + number)


def feed(lines: list[str]) -> Rows:
    records = ""
    for line in lines:
        if "median/s" in line:
            records = line.partition(", batches")[0].partition("of ")[2]
        elif records and (found := re.match(r"(\S.*?)\s{2,}([\d,]+)\s+[\d,]+\s+[\d.]+$", line)):
            yield f"{found[1]}, {records}", 1 / float(found[2].replace(",", ""))


def samplers(lines: list[str]) -> Rows:
    samples = ""
    for line in lines:
        if "ns, early" in line:
            samples = re.split(r"\s{2,}", line)[0]
        elif samples and (found := re.match(r"(\S.*?)\s{2,}([\d.]+)\s", line)):
            yield f"{found[1]}, {samples}", float(found[2])


def medians(lines: list[str]) -> Rows:
    part = ""
    for line in lines:
        if found := re.match(r"(\S.*?)\s+median\s+([\d.]+) ", line):
            yield f"{found[1]}{part}", float(found[2])
        elif line.strip():
            part = f", {line.strip()}"


def start(lines: list[str]) -> Rows:
    for line in lines:
        if found := re.match(r"(jax|tensorflow|torch)\s+(\S.*?)\s{2,}([\d.]+)\s+[\d.]+", line):
            yield f"{found[2]}, {found[1]}", float(found[3])


def pages(lines: list[str]) -> Rows:
    for line in lines:
        for found in re.finditer(r"(evaluate|make the page|open it) ([\d.]+) s", line):
            yield f"{found[1]}, {line.partition(':')[0]}", float(found[2])


def resume(lines: list[str]) -> Rows:
    for line in lines:
        if found := re.match(r"(jax|tensorflow|torch)\s+\d+ MB", line):
            _, copy, write, save, _ = re.findall(r"([\d.]+) s\b", line)
            for name, seconds in (("copy (limit)", copy), ("write, synced", write), ("a save in all", save)):
                yield f"{name}, {found[1]}", float(seconds)


BENCHMARKS: dict[str, Callable[[list[str]], Rows]] = {
    "steps": steps,
    "steps_torch_graph": torch_graph,
    "losses": losses,
    "metrics": metrics,
    "feed": feed,
    "samplers": samplers,
    "recordings": medians,
    "coverage_speed": medians,
    "pages": pages,
    "start": start,
    "resume": resume,
}


def file_of(benchmark: str) -> str:
    """Return the name of the file of a benchmark: `steps_torch_graph` of `steps/torch_graph.py --rounds 5`."""
    return benchmark.split()[0].removesuffix(".py").replace("/", "_")


def shares(name: str) -> dict[str, float]:
    """Return each row's time with kept memory as a share of that without; no rows if it did not run both ways."""
    files = [HERE / way / f"{name}.txt" for way in WAYS]
    if not all(file.exists() for file in files):
        return {}
    before, after = (dict(BENCHMARKS[name](file.read_text(encoding="utf-8").splitlines())) for file in files)
    found = {row: after[row] / before[row] for row in before if row in after and before[row]}
    if not found:
        raise ValueError(f"{files[0]}: no rows found; its format has changed")
    return found


def table() -> list[str]:
    """Return the machine of the steps, a line for each benchmark, and one for each row."""
    heading = (HERE / WAYS[1] / "steps.txt").read_text(encoding="utf-8").splitlines()
    lines = ["$ python benchmarks/kept", *[line for line in heading if not line.startswith(("$", "="))][:2]]
    lines += ["", f"{'time with kept memory, as a share':40}{'rows':>6}{'median':>9}{'least':>9}{'most':>9}"]
    rows: list[str] = []
    for name in BENCHMARKS:
        if found := shares(name):
            values = sorted(found.values())
            lines.append(f"{name:40}{len(values):6}{statistics.median(values):9.2f}{values[0]:9.2f}{values[-1]:9.2f}")
            rows += ["", name, *(f"  {row:90}{share:6.2f}" for row, share in found.items())]
    return [*lines, *rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmarks", nargs="*", metavar="NAME")
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    unknown = [name for name in given.benchmarks if file_of(name) not in BENCHMARKS]
    if unknown:
        parser.error(
            f"received {unknown[0]!r}, expected some of {', '.join(BENCHMARKS)}, by the names that scripts/bench takes"
        )
    for benchmark in given.benchmarks:
        for way in WAYS:
            command = [str(HERE.parents[1] / "scripts" / "bench"), f"--{way.replace('_', '-')}", benchmark]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            sys.stdout.write(done.stdout)
            (HERE / way).mkdir(exist_ok=True)
            (HERE / way / f"{file_of(benchmark)}.txt").write_text(done.stdout, encoding="utf-8")
    lines = table()
    print("\n".join(lines))
    if given.table:
        given.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
