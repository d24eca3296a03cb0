"""What the workers of a training agree on before it starts; the other workers are played by the test."""

import copy
import json
import time
from contextlib import contextmanager

import pytest

from tailfit.errors import ArgumentError, DataError, WorkerError
from tailfit.recipes import agreement, load_recipe
from tailfit.recipes.agreement import check_same, check_shared
from tailfit.training import together as together_module
from tailfit.training.together import together
from tailfit.workers import placed

pytestmark = pytest.mark.above_training


class Others:
    """The exchange of rank 0 or 1 of 2, whose other worker answers with what `reply` makes of the document."""

    def __init__(self, rank, reply):
        self.rank, self.reply = rank, reply

    def documents(self, document):
        sent = json.loads(json.dumps(document))
        other = self.reply(copy.deepcopy(sent))
        return [sent, other] if self.rank == 0 else [other, sent]


@contextmanager
def one_of_two(monkeypatch, rank, reply):
    for module in (agreement, together_module):
        monkeypatch.setattr(module, "exchange", lambda: Others(rank, reply))
    with placed(rank, 2):
        yield


def raises(error):
    raise error


def test_a_worker_alone_agrees_with_itself(tmp_path):
    recipe = load_recipe({"data": {"path": "x"}})
    assert together(lambda: 3) == 3
    check_same(recipe, {})
    check_shared(tmp_path)
    with pytest.raises(DataError, match="Received a") as raised:
        together(lambda: raises(DataError("a", expected="b", fix="c")))
    assert not hasattr(raised.value, "worker")


def test_a_busy_worker_is_waited_for(monkeypatch):
    began = time.monotonic()
    with one_of_two(monkeypatch, 0, lambda _: {"busy": True} if time.monotonic() < began + 0.5 else {}):
        assert together(lambda: "done") == "done"
    assert time.monotonic() > began + 0.5


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_of_one_worker_is_raised_by_all(monkeypatch, rank):
    own = DataError("a", expected="b", fix="c")
    with one_of_two(monkeypatch, rank, lambda _: {}), pytest.raises(DataError) as raised:
        together(lambda: raises(own))
    assert raised.value is own
    assert raised.value.worker == rank
    described = {"error": {"class": "DataError", "received": "d", "expected": "e", "fix": "f"}}
    with one_of_two(monkeypatch, rank, lambda _: described), pytest.raises(DataError, match="Received d") as raised:
        together(lambda: "done")
    assert raised.value.worker == 1 - rank
    described = {"error": {"class": "KeyError", "text": "'x'"}}
    with (
        one_of_two(monkeypatch, rank, lambda _: described),
        pytest.raises(WorkerError, match=f"worker {1 - rank}.*'x'"),
    ):
        together(lambda: "done")


def test_a_worker_that_is_lost_meanwhile_is_an_error(monkeypatch):
    lost = WorkerError("no answer", expected="b", fix="c")
    with one_of_two(monkeypatch, 0, lambda _: raises(lost)), pytest.raises(WorkerError, match="no answer"):
        together(lambda: "done")


DATA = {"count": 3, "bytes": 9, "names": "n", "times": "t", "sample": "s", "contents": "c"}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"recipe's epochs": 3}, ArgumentError, "worker 1 with the recipe's epochs 3, and worker 0 with 20"),
        ({"tailfit": "0.0.9"}, ArgumentError, r"worker 1 with the tailfit 0\.0\.9"),
        ({"source code of tailfit": "0"}, ArgumentError, "the source code of tailfit 0, and worker 0 with"),
        ({"data": {**DATA, "contents": "d"}}, DataError, "worker 1, whose data differ.*different contents"),
        ({"data": {**DATA, "count": 4}}, DataError, "3 files before, 4 now"),
        ({"data": {**DATA, "times": "u"}}, None, ""),  # copies of the data may have different times
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_workers_differ(monkeypatch, change, error, message):
    recipe = load_recipe({"data": {"path": "x"}})

    def other(sent):
        return [
            {**sent[0], **{key: value for key, value in change.items() if key != "data"}},
            change.get("data", sent[1]),
        ]

    with one_of_two(monkeypatch, 0, other):
        if error is None:
            check_same(recipe, {**DATA, "contents": None})
        else:
            with pytest.raises(error, match=message):
                check_same(recipe, DATA)


def test_the_directory_is_shared(monkeypatch, tmp_path):
    monkeypatch.setattr(agreement, "_SEEN_WITHIN", 0.1)
    written = {}

    def follows(sent):  # worker 1 sees what worker 0 writes
        if isinstance(sent, str):
            written["mark"] = (tmp_path / sent).is_file()
        return {}

    with one_of_two(monkeypatch, 0, follows):
        check_shared(tmp_path)
    assert written["mark"]
    assert not list(tmp_path.iterdir())
    with (
        one_of_two(monkeypatch, 1, lambda sent: "workers-0123" if isinstance(sent, str) else {}),
        pytest.raises(ArgumentError, match=r"worker 1, which does not see the files of worker 0.*all workers share"),
    ):
        check_shared(tmp_path)
