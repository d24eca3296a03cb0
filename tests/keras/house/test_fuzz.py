"""Every parser that needs Keras, on the inputs that were kept of fuzzing it; see tests/fuzz."""

import pytest
from fuzz.bounds import tally
from fuzz.corpus import kept
from fuzz.targets import targets


@pytest.mark.parametrize("target", targets(keras=True).values(), ids=targets(keras=True))
def test_what_fuzzing_found(target):
    tally.clear()
    for content in target.seeds():
        target.run(content)
    assert tally["values"], "nothing is read of what is sound"
    for content in kept(target.name):
        target.run(content)
