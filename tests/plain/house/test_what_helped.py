"""The page "What helped, and what did not" is what the finished runs of the yardsticks give."""

import sys

import pytest
from support.paths import ROOT

FOLDER = ROOT / "benchmarks" / "yardsticks"


@pytest.fixture
def helped(monkeypatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    import helped

    yield helped
    for name in {path.stem for path in FOLDER.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


def test_the_page_is_up_to_date(helped):
    made = helped.page(helped.Store(FOLDER / "runs"))
    assert helped.PAGE.read_text(encoding="utf-8") == made, "run python benchmarks/yardsticks/helped.py"


def test_differences_are_paired_by_seed(helped):
    plain = {0: 50.0, 1: 60.0, 2: 70.0}
    found = helped.difference({0: 51.0, 1: 62.0, 2: 73.0, 3: 99.0}, plain)
    # Mean 2, standard deviation 1, three seeds: Student's t for 2 degrees of freedom is 4.303.
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert found.verdict == "undecided"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ([3, 3.1, 2.9], "helped"),
        ([-3, -3.1, -2.9], "hurt"),
        ([0.1, -0.1, 0], "no difference"),
        ([3], "one seed"),
    ],
)
def test_verdicts(helped, changes, verdict):
    plain = dict.fromkeys(range(len(changes)), 50.0)
    assert helped.difference({k: 50 + change for k, change in enumerate(changes)}, plain).verdict == verdict


def test_the_rows_of_the_wells_are_found(helped):
    rows = [line.split("|")[1].strip() for line in helped.of_wells() if "compared with" in line]
    assert rows == ["`fcn`"] * 5 + ["`cnn`"] * 5


def test_runs_of_one_row_are_put_together_and_averaged_over_data_sets(helped, tmp_path):
    import store

    kept = store.Store(tmp_path)
    for of, value in (("a", 0.5), ("b", 0.7)):
        for part, key in (("whole", "recall"), ("held out", "validation recall")):
            if (of, part) != ("b", "held out"):
                run = store.Run("ucr", f"{of}, net, plain, {part}", 0, dict)
                kept.write(run, {f"{of}, net, plain": {key: value}})
    assert kept.rows("ucr")["a, net, plain"] == {0: {"recall": 0.5, "validation recall": 0.5}}
    over = lambda key: store.mean_over(kept.rows("ucr"), ["a, net, ", "b, net, "], key)  # noqa: E731
    assert over("recall") == {"plain": {0: pytest.approx(0.6)}}
    assert over("validation recall") == {}
