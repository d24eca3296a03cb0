"""Groups, IDs and metadata of an evaluation: every form, the round trip through JSON, and what is refused."""

import json

import numpy as np
import polars as pl
import pytest

import tailfit
from tailfit.errors import DataError
from tailfit.evaluation import Evaluation
from tailfit.evaluation.grouping import checked_grouping

Y, GUESS = [0, 0, 1, 1, 1, 0], [0, 1, 1, 1, 0, 0]
GROUPS = ["b", "b", "a", "a", "c", "c"]


@pytest.mark.parametrize(
    "groups",
    [GROUPS, np.array(GROUPS), np.array(GROUPS, object), pl.Series(GROUPS), pl.Series(GROUPS, dtype=pl.Categorical)],
    ids=["list", "array", "objects", "Series", "categories"],
)
def test_groups_of_every_form(groups):
    evaluation = tailfit.evaluate(Y, GUESS, groups=groups)
    assert evaluation.groups.names == ("b", "a", "c")
    assert evaluation.groups.index.tolist() == [0, 0, 1, 1, 2, 2]
    assert [of_class.groups for of_class in evaluation.classes] == [2, 2]


@pytest.mark.parametrize(
    "groups", [[7, 7, 3, 3, 9, 9], np.array([7.0, 7, 3, 3, 9, 9]), np.array([2, 2, 0, 0, 5, 5], np.uint8)]
)
def test_groups_of_numbers(groups):
    assert checked_grouping(groups).index.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_groups_of_each_class_are_named():
    grouping = tailfit.evaluate(Y, GUESS, groups=GROUPS).groups
    assert grouping.by_class(np.array(Y), 3) == (("b", "c"), ("a", "c"), ())


def test_groups_and_ids_survive_json():
    evaluation = tailfit.evaluate(Y, GUESS, groups=GROUPS, ids=range(6))
    read = Evaluation.from_json(evaluation.to_json())
    assert read == evaluation
    assert read.groups.names == evaluation.groups.names
    assert not {"groups", "ids_digest"} & json.loads(tailfit.evaluate(Y, GUESS).to_json()).keys()


DAMAGE = {
    "too few": lambda fields: fields["groups"]["index"].pop(),
    "an index beyond the names": lambda fields: fields["groups"]["index"].__setitem__(5, 3),
    "a negative index": lambda fields: fields["groups"]["index"].__setitem__(5, -1),
    "an unused name": lambda fields: fields["groups"]["names"].append("d"),
    "a repeated name": lambda fields: fields["groups"]["names"].__setitem__(0, "a"),
    "a name of a wrong type": lambda fields: fields["groups"]["names"].__setitem__(0, 3),
    "another order": lambda fields: fields["groups"].update(index=[1, 1, 0, 0, 2, 2]),
    "fractions": lambda fields: fields["groups"].update(index=[0.0, 0, 1, 1, 2, 2]),
    "no names": lambda fields: fields["groups"].pop("names"),
    "groups of a wrong type": lambda fields: fields.update(groups=3),
    "no groups": lambda fields: fields.update(groups=None),
    "no digest": lambda fields: fields.update(ids_digest="x"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_groups_are_refused(damage):
    fields = json.loads(tailfit.evaluate(Y, GUESS, groups=GROUPS, ids=range(6)).to_json())
    DAMAGE[damage](fields)
    with pytest.raises(DataError, match="JSON of an evaluation with a fault: "):
        Evaluation.from_json(json.dumps(fields))


def test_the_same_labels_of_other_samples_are_not_paired():
    one, same, other = (tailfit.evaluate(Y, GUESS, ids=ids) for ids in (range(6), range(6), range(1, 7)))
    one.difference_to(same)
    one.difference_to(tailfit.evaluate(Y, GUESS))  # unknown IDs
    with pytest.raises(tailfit.errors.ArgumentError, match="different classes or test samples"):
        one.difference_to(other)
    in_groups = tailfit.evaluate(Y, GUESS, groups=GROUPS)
    assert not in_groups.same_samples(tailfit.evaluate(Y, GUESS, groups=[*GROUPS[1:], "b"]))
    assert in_groups.same_samples(tailfit.evaluate(Y, GUESS, groups=["x" + name for name in GROUPS]))
