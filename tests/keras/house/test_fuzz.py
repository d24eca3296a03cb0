"""Every parser that needs Keras, on the inputs that were kept of fuzzing it; see tests/fuzz."""

import pytest
from fuzz.corpus import kept
from fuzz.targets import targets


@pytest.mark.parametrize("target", targets(keras=True).values(), ids=targets(keras=True))
def test_what_fuzzing_found(target):
    for content in [*target.seeds(), *kept(target.name)]:
        target.run(content)
