"""The table of costs in the documentation is that of the model and the measured constants."""

import json
import sys

import pytest
from support.paths import ROOT

FOLDER = ROOT / "benchmarks" / "distributed"


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.syspath_prepend(str(FOLDER))
    import costs

    yield costs
    del sys.modules["costs"]


def test_the_table_is_up_to_date(costs) -> None:  # type: ignore[no-untyped-def]
    page = (ROOT / "docs" / "several-machines.md").read_text(encoding="utf-8")
    assert costs.table(json.loads((FOLDER / "results.json").read_text())) in page


def test_the_terms(costs) -> None:  # type: ignore[no-untyped-def]
    network = costs.Network(latency=1e-3, bandwidth=1e6)
    assert (
        costs.exchange_seconds(1, 1e6, network, exact=True) == costs.exchange_seconds(1, 1e6, network, exact=False) == 0
    )
    assert costs.exchange_seconds(4, 1e6, network, exact=True) == pytest.approx(3 * (1e-3 + 1))
    assert costs.exchange_seconds(4, 1e6, network, exact=False) == pytest.approx(6e-3 + 1.5)
    assert costs.tree_seconds(2, 8, 1e6, 1e-6) == pytest.approx(3 + 1)
