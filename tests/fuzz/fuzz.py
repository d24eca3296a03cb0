"""Fuzz the parsers, guided by coverage (atheris), and keep the inputs that reach what no other one does.

    make fuzz MINUTES=60              all parsers, one after another, the minutes shared out among them
    make fuzz MINUTES=5 ONLY=npy,csv  these only

What breaks a parser is written to build/fuzz/NAME/found/, with its traceback, and the fuzzing goes on. Fix it, and have
the suite read the input from then on by `python tests/fuzz/fuzz.py --keep NAME FILE`.
"""

import argparse
import contextlib
import hashlib
import io
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fuzz.targets import Target

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "build" / "fuzz"
SOURCE = ROOT / "src" / "tailfit"
sys.path[:0] = [str(HERE.parent), str(SOURCE.parent)]

MOST = 12  # inputs kept of a parser beyond its seeds and what once broke it
LONGEST = 30.0  # seconds that choosing them may take
INSTRUMENTED = ["tailfit", "ruamel.yaml"]
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "KERAS_BACKEND": "jax",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--minutes", type=float, default=10.0, help="in all")
    arguments.add_argument("--only", default="", help="names of parsers, with commas between them")
    arguments.add_argument("--keep", nargs=2, metavar=("NAME", "FILE"), help="have the suite read this input for good")
    given = arguments.parse_args()
    if given.keep:
        keep(given.keep[0], Path(given.keep[1]))
        return
    os.environ.update(ENVIRONMENT)
    import atheris

    # It names every module on standard error.
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.targets import targets

        there = targets()
        only = [name for name in given.only.split(",") if name]
        if not only or not set(only) <= set(there):  # Keras takes its time
            there = {**there, **targets(keras=True)}
    if unknown := set(only) - set(there):
        sys.exit(f"no parser {', '.join(sorted(unknown))}; there are {', '.join(there)}")
    for name in only or there:
        campaign(there[name], 60 * given.minutes / len(only or there))


def campaign(target: "Target", seconds: float) -> None:
    """Fuzz one parser in processes forked from this one, which has done no more than import it."""
    place = WORK / target.name
    (place / "found").mkdir(parents=True, exist_ok=True)
    (place / "corpus").mkdir(exist_ok=True)
    end = time.monotonic() + seconds
    # Again, where the interpreter itself is brought down.
    while (left := end - time.monotonic()) > 1 and in_child(lambda: fuzz(target, left), place, left + 120):
        pass
    in_child(lambda: minimise(target), place, 600)
    found = sorted((place / "found").glob("*.txt"))
    print(f"{target.name}: {len(found)} found", *(f"\n    {path}" for path in found), flush=True)


def in_child(call: Callable[[], None], place: Path, seconds: float) -> int:
    """Call in a child process, which is ended after so many seconds; its exit status."""
    memory = "/dev/shm"  # a disk would take most of the time
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        child = os.fork()
        if child == 0:
            tempfile.tempdir = folder
            log = os.open(place / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            try:
                call()
                os._exit(0)
            except BaseException as error:
                if not isinstance(error, SystemExit) or error.code:
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
        end = time.monotonic() + seconds
        while (status := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.1)
        return status[1]


def fuzz(target: "Target", seconds: float) -> None:
    """Fuzz one parser in this process, which ends with it."""
    import atheris

    from fuzz.bounds import limited_memory
    from fuzz.corpus import kept
    from fuzz.mutation import mutated_json

    place = WORK / target.name
    run = recorder(target.run, place / "found")
    for content in [*target.seeds(), *kept(target.name)]:
        (place / "corpus" / hashlib.sha1(content).hexdigest()).write_bytes(content)
        run(content)  # so that what is imported late is, while there is memory
    (place / "words.txt").write_text("".join(f'"{escaped(word)}"\n' for word in target.words))

    def mutate(content: bytes, most: int, seed: int) -> bytes:
        changed = mutated_json(content, seed) if target.json and seed % 4 else None
        return atheris.Mutate(content, most) if changed is None else changed[:most]

    options = [
        f"-max_total_time={seconds:.0f}",
        f"-max_len={target.longest}",
        "-timeout=60",
        "-rss_limit_mb=6000",
        "-len_control=0",
        "-print_final_stats=1",
        f"-artifact_prefix={place}/found/",
        *([f"-dict={place}/words.txt"] if target.words else []),
    ]
    atheris.Setup([target.name, *options, str(place / "corpus")], run, custom_mutator=mutate)
    with limited_memory():
        atheris.Fuzz()


def escaped(word: str) -> str:
    """Write a word, whose characters stand for bytes, as libFuzzer's dictionaries do."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode("latin-1"))


def recorder(run: Callable[[bytes], Any], place: Path) -> Callable[[bytes], None]:
    """The parser's harness; what breaks it is written down, once for each place in the code that it breaks at."""
    lengths: dict[str, int] = {}

    def once(content: bytes) -> None:
        try:
            run(content)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            key = hashlib.sha1(where(error).encode()).hexdigest()[:10]
            if len(content) < lengths.get(key, sys.maxsize):
                lengths[key] = len(content)
                (place / key).write_bytes(content)
                report = "".join(traceback.format_exception(error))
                (place / f"{key}.txt").write_text(f"{content[:2000]!r}\n\n{report}", errors="backslashreplace")

    return once


def where(error: BaseException) -> str:
    """What tells one fault from another: the kind of the error, and the innermost line of ours that let it through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(SOURCE)]
    last = (ours or frames)[-1]
    said = str(error)[:40] if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} {last.filename}:{last.lineno} {said}"


def minimise(target: "Target") -> None:
    """Keep the inputs that reach lines of tailfit, in an order, that the seeds and the inputs kept for good do not."""
    from fuzz.bounds import limited_memory
    from fuzz.corpus import read, write

    known: set[Any] = set()
    for content in [*target.seeds(), *read(HERE / "found" / f"{target.name}.txt")]:
        target.run(content)
        known |= reached(target.run, content)
    path = HERE / "corpus" / f"{target.name}.txt"
    new = [file.read_bytes() for file in sorted((WORK / target.name / "corpus").glob("*"))]
    reach: dict[bytes, set[Any]] = {}
    end = time.monotonic() + LONGEST
    with limited_memory():
        for content in sorted({*read(path), *new}, key=len):  # the short ones first, for max takes the first of equals
            if time.monotonic() < end:
                reach[content] = reached(target.run, content)
    chosen: list[bytes] = []
    while reach and len(chosen) < MOST:
        best = max(reach, key=lambda content: len(reach[content] - known))
        if not reach[best] - known:
            break
        known |= reach.pop(best)
        chosen.append(best)
    write(path, chosen)


def reached(run: Callable[[bytes], Any], content: bytes) -> set[Any]:
    """Pairs of lines of tailfit that follow each other as an input is parsed; none where it breaks the parser."""
    pairs: set[Any] = set()
    ours = str(SOURCE)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(ours):
            return None
        before = 0

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal before
            pairs.add((frame.f_code, before, frame.f_lineno))
            before = frame.f_lineno
            return line

        return line

    sys.settrace(trace)
    try:
        run(content)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return set()
    finally:
        sys.settrace(None)
    return pairs


def keep(name: str, path: Path) -> None:
    from fuzz.corpus import read, write

    place = HERE / "found" / f"{name}.txt"
    write(place, [*read(place), path.read_bytes()])


if __name__ == "__main__":
    main()
