"""Selection of the test cases that a process runs.

A *case* is one test with one set of parameters; a *test* is all cases of one function. A hash of the case's ID decides
everything: a new case moves no other, and the processes of the three backends agree without communication.

| `--cases` | what runs |
|---|---|
| `quick`  | one case of each test, as far as time allows (see `--seconds`) |
| `sample` | one case of each test and a quarter of the others, each on one backend |
| `usual`  | all but slow ones: on torch and on JAX or TensorFlow; a test of one case on all; above training on one |
| `rest`   | what `usual` has and `sample` has not |
| `all`    | what `usual` has, and the slow cases on one backend |
| `here`   | every case of this process but the slow ones: what pytest runs by itself |
| `every`  | every case on every backend, the slow ones, too |
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

__all__ = ["BACKENDS", "LEVELS", "Case", "chosen", "in_share"]

BACKENDS = ("jax", "tensorflow", "torch")
LEVELS = ("quick", "sample", "rest", "usual", "all", "here", "every")


@dataclass(frozen=True)
class Case:
    """One case.

    Args:
        id: Its name, unique and the same in every process.
        test: The test that it is a case of.
        backends: Where it runs; empty: it needs no backend.
        elsewhere: Further backends, on which it runs at the level `every` only.
        slow: Runs at the levels `all` and `every` only.
        shared: Runs on one backend, since other tests check on each backend what it uses.
    """

    id: str
    test: str
    backends: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    slow: bool = False
    shared: bool = False

    @property
    def hash(self) -> int:
        return crc32(self.id.encode())

    def runs_on(self, backend: str | None) -> bool:
        return not self.backends or backend in self.backends

    @property
    def compiled_on(self) -> str | None:
        """JAX or TensorFlow, whichever runs this case."""
        among = [name for name in self.backends if name != "torch"]
        return among[self.hash % len(among)] if among else None

    @property
    def home(self) -> str | None:
        """The one backend of the level `sample`: torch for three quarters of the cases, since it compiles nothing."""
        if "torch" in self.backends and (self.hash // 2 % 4 or len(self.backends) == 1):
            return "torch"
        return self.compiled_on


def chosen(cases: Iterable[Case], level: str, here: str | None) -> list[bool]:
    """Decide for each case whether it runs in this process.

    Args:
        cases: All cases of the process.
        level: One of `LEVELS`.
        here: The backend of the process; None where only tests run that need none.
    """
    cases = list(cases)
    number = Counter(case.test for case in cases)
    first: dict[str, Case] = {}  # of each test, the case with the smallest hash
    for case in cases:
        if not case.slow:
            first[case.test] = min(case, first.get(case.test, case), key=lambda one: (one.hash, one.id))

    def sampled(case: Case) -> bool:
        return case.home in (here, None) and (case is first[case.test] or case.hash // 8 % 4 == 0)

    def everywhere(case: Case) -> bool:
        if case.shared:
            return case.home in (here, None)
        alone = number[case.test] == 1
        return case.runs_on(here) and (alone or not case.backends or here in ("torch", case.compiled_on))

    def runs(case: Case) -> bool:
        if level == "every":
            return case.runs_on(here) or here in case.elsewhere
        if case.slow:
            return level == "all" and case.home in (here, None)
        if level == "quick":
            return case is first[case.test] and case.runs_on(here)
        if level == "sample":
            return sampled(case)
        if level == "rest":
            return everywhere(case) and not sampled(case)
        return everywhere(case) if level in ("usual", "all") else case.runs_on(here)

    return [runs(case) for case in cases]


def in_share(path: str, share: str) -> bool:
    """Return whether a test file, as a path in `tests`, is in a share such as "1of2"; files are dealt out by hash."""
    own, number = map(int, share.split("of"))
    return crc32(path.encode()) % number == own - 1
