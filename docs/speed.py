"""The tables of the page "Speed", made from the results in `benchmarks/`: `python docs/speed.py` renews them.

A table on the page is between two comments, the first of which names it. Its machine and command are those at the top
of its file.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["PAGE", "TABLES", "with_tables"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "speed.md"
RESULTS = ROOT / "benchmarks"
_MARKED = re.compile(r"(<!-- table: (\w+); made by docs/speed.py -->\n).*?(<!-- end -->\n)", re.DOTALL)
_COLUMNS = re.compile(r"\s{2,}")


def with_tables(page: str) -> str:
    """Return the text of the page with the current tables."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", page)


def steps() -> str:
    """Milliseconds of a step of the MLP on JAX and TensorFlow; those of torch are in a table of its own."""
    path = RESULTS / "steps" / "results.txt"
    rows: dict[str, dict[str, str]] = {}
    for line in _section(path, "MLP "):
        found = re.match(r"(jax|tensorflow)\s+(.+?)\s{2,}[\d.]+\s+([\d.]+)\s+([\d.]+)", line)
        if found:
            rows.setdefault(found[2], {})[found[1]] = f"{found[3]} | {found[4]}"
    head = ["", "JAX, ms", "x fit", "TensorFlow, ms", "x fit"]
    body = [
        f"| {name} | {found.get('jax', ' | ')} | {found.get('tensorflow', ' | ')} |" for name, found in rows.items()
    ]
    return _table(path, head, body)


def torch_steps() -> str:
    """Milliseconds of a step on torch, recorded, beside Keras and a loop by hand."""
    path = RESULTS / "steps" / "torch_graph.txt"
    body, network = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.endswith("rounds") and "medians of" in line:
            network = line.partition(":")[0].rpartition(", ")[0]
        found = re.match(r"  (.+?)\s{2,}([\d.]+) ms/step\s+([\d.]+) of fit\s+([\d.]+) of the loop", line)
        if found:
            body.append(f"| {network} | {' | '.join(found.groups())} |")
    return _table(path, ["network, optimizer", "", "ms/step", "x fit", "x loop by hand"], body)


def job() -> str:
    """Seconds of a whole job, beside what else trains the same network."""
    path = RESULTS / "steps" / "job.txt"
    body, backend = [], ""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if "s/epoch" in line:
            backend = line.partition(" ")[0]
        cells = _COLUMNS.split(line.strip())
        if line.startswith("  ") and len(cells) >= 8:
            body.append(f"| {backend} | {' | '.join(cells[:8])} |")
    columns = ["", "", "s/epoch", "x", "whole, s", "x", "processor, s", "x", "peak, MiB"]
    return _table(path, columns, body) if path.exists() else _missing(path)


def compare() -> str:
    """Time of a comparison, with and without the shared compilation cache."""
    path = RESULTS / "compare" / "results.txt"
    return _plain(path, "5 remedies") if path.exists() else _missing(path)


def start() -> str:
    """Time to start, and the share of imports in a short training."""
    path = RESULTS / "start" / "results.txt"
    return _plain(path, "medians of") if path.exists() else _missing(path)


def soak() -> str:
    """Memory over an hour of short trainings."""
    return _plain(RESULTS / "soak" / "results.txt", "jax ", "tensorflow ", "torch ")


def losses() -> str:
    """Time of each loss as a multiple of Keras' cross-entropy, and of the limit."""
    path = RESULTS / "losses" / "results.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("classes "))
    heads = _COLUMNS.split(lines[start].strip())[1:]
    body = []
    for line in lines[start + 1 :]:
        name, numbers = line[:28].strip(), line[28:].replace("!", " ").split()
        if len(numbers) == 3 * len(heads):
            cells = [f"{numbers[at + 1]} ({numbers[at + 2]})" for at in range(0, len(numbers), 3)]
            body.append(f"| `{name}` | {' | '.join(cells)} |")
    return _table(path, ["x Keras (x limit)", *heads], body)


def feed() -> str:
    """Records a second by each way to read a data set."""
    return _plain(RESULTS / "feed" / "results.txt", "40,000 records of 128x12")


def recordings() -> str:
    """Time to read windows of recordings."""
    return _plain(RESULTS / "recordings" / "results.txt", "160,026 windows of (18, 8) float32, batches of 256")


def resume() -> str:
    """Time of saving a run."""
    return _plain(RESULTS / "resume" / "results.txt", "              state")


def kept() -> str:
    """Time of the benchmarks' rows with memory kept, as a share of that without."""
    return _plain(RESULTS / "kept" / "results.txt", "time with kept memory")


def evaluation() -> str:
    """Time of the intervals of an evaluation."""
    return _plain(RESULTS / "coverage" / "speed.txt", "evaluate(y, scores, ...)")


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (steps, torch_steps, job, kept, losses, feed, recordings, compare, start, soak, resume, evaluation)
}


def _table(path: Path, head: list[str], body: list[str]) -> str:
    if not body:
        raise ValueError(f"{path}: no rows found; its format has changed")
    return "\n".join([f"{_origin(path)}\n", f"| {' | '.join(head)} |", "|---" * len(head) + "|", *body])


def _missing(path: Path) -> str:
    return f"Not measured yet: `{path.relative_to(ROOT).as_posix()}` is missing."


def _plain(path: Path, *beginnings: str) -> str:
    lines = "\n".join(line for beginning in beginnings for line in _section(path, beginning))
    return f"{_origin(path)}\n\n```text\n{lines}\n```"


def _section(path: Path, beginning: str) -> Iterator[str]:
    """Yield the lines from the one that begins so to the next empty one."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [number for number, line in enumerate(lines) if line.startswith(beginning)]
    if not found:
        raise ValueError(f"{path}: no line begins with {beginning!r}; its format has changed")
    for line in lines[found[0] :]:
        if not line.strip():
            return
        yield line.rstrip()


def _origin(path: Path) -> str:
    """Return a sentence that names the command and the machine."""
    top = path.read_text(encoding="utf-8").splitlines()[:4]
    commands = [line.removeprefix("$ ") for line in top if line.removeprefix("$ ").startswith("python ")]
    command = commands[0].partition(" --out")[0] if commands else f"python benchmarks/{path.parent.name}"
    machine = ", ".join(line for line in top if line.startswith(("x86_64", "aarch64", "arm64", "NVIDIA", "Python ")))
    shown = path.relative_to(ROOT).as_posix()
    where = f"; {machine}" if machine else ""
    return f"`{command}`{where}. All rows: `{shown}`."


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
