"""Which cases run where: nothing is forgotten, nothing runs twice where once is meant, and all processes agree."""

import ast
import itertools
import re

import pytest
from support.paths import ROOT
from support.selection import BACKENDS, Case, chosen, in_share

CASES = [
    *(Case(f"many[{number}]", "many", BACKENDS) for number in range(200)),
    *(Case(f"few{test}[{number}]", f"few{test}", BACKENDS) for test in range(40) for number in range(3)),
    *(Case(f"alone{test}", f"alone{test}", BACKENDS) for test in range(40)),
    *(Case(f"shared{test}", f"shared{test}", BACKENDS, shared=True) for test in range(40)),
    *(Case(f"{one}{test}", f"{one}{test}", (one,)) for one in BACKENDS for test in range(9)),
    *(Case(f"compiled{test}", f"compiled{test}", ("jax", "tensorflow")) for test in range(9)),
    *(Case(f"mostly{test}", f"mostly{test}", ("torch",), ("jax", "tensorflow")) for test in range(9)),
    Case("slow", "slow", BACKENDS, slow=True),
    Case("slow case[0]", "slow case", BACKENDS, slow=True),
    *(Case(f"slow case[{number}]", "slow case", BACKENDS) for number in range(1, 4)),
]
PLAIN = [Case(f"plain{test}[{number}]", f"plain{test}") for test in range(20) for number in range(test)]


def run(level, backend, cases=CASES):
    return {case for case, runs in zip(cases, chosen(cases, level, backend), strict=True) if runs}


def times(level):
    """How many backends run each case."""
    ran = list(itertools.chain.from_iterable(run(level, backend) for backend in BACKENDS))
    return {case: ran.count(case) for case in CASES}


def test_a_sample_has_every_test_and_each_case_once_at_most():
    counted = times("sample")
    assert set(counted.values()) == {0, 1}
    assert {case.test for case, number in counted.items() if number} == {case.test for case in CASES} - {"slow"}
    assert 0.15 < sum(counted[case] for case in CASES if case.test == "many") / 200 < 0.35
    on = {backend: sum(case.test.startswith("alone") for case in run("sample", backend)) for backend in BACKENDS}
    assert min(on.values()) > 2
    assert on["torch"] > 20


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_rest_is_what_the_sample_leaves(backend):
    sample, rest = run("sample", backend), run("rest", backend)
    assert not sample & rest
    assert sample | rest == run("usual", backend)
    assert run("usual", backend) <= run("here", backend) <= run("every", backend)


def test_all_has_every_case_on_torch_and_on_one_that_compiles():
    for case, number in times("all").items():
        if case.slow:
            assert number == 1
            assert not times("usual")[case]
        elif case.backends == BACKENDS:
            assert number == (1 if case.shared else 3 if case.test.startswith("alone") else 2)
        else:
            assert number == len(case.backends)
    each = {case for case in CASES if case.backends == BACKENDS and not (case.slow or case.shared)}
    assert each <= run("all", "torch")


def test_every_is_every_case_wherever_it_can_run():
    for case, number in times("every").items():
        assert number == len(case.backends + case.elsewhere)


def test_what_needs_no_backend_runs_once():
    assert run("sample", None, PLAIN) | run("rest", None, PLAIN) == run("usual", None, PLAIN) == set(PLAIN)
    assert not run("sample", None, PLAIN) & run("rest", None, PLAIN)
    assert {case.test for case in run("sample", None, PLAIN)} == {case.test for case in PLAIN}
    assert len(run("quick", None, PLAIN)) == len({case.test for case in PLAIN})


def test_a_new_case_moves_no_other():
    before, after = run("all", "jax"), run("all", "jax", [Case("many[new]", "many", BACKENDS), *reversed(CASES)])
    assert after - {Case("many[new]", "many", BACKENDS)} == before


def test_shares_are_all_files_each_once():
    paths = [path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    shares = [{path for path in paths if in_share(path, f"{number}of3")} for number in (1, 2, 3)]
    assert set.union(*shares) == set(paths)
    assert sum(map(len, shares)) == len(paths)
    assert all(shares)


def test_no_test_skips_a_backend():
    """A test that skips itself is lost where only one backend runs it: `only_on` and `mostly_on` choose before."""
    for path in (ROOT / "tests" / "keras").rglob("test_*.py"):
        assert not re.search(r"skipif\([^\n]*backend\(\) *[!=]=", path.read_text(encoding="utf-8")), path


def test_no_test_file_imports_another():
    """What two of them need is in tests/support."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            for name in names:
                assert not any(part == "conftest" or part.startswith("test_") for part in (name or "").split(".")), path
