"""Every parser, fed with what nobody wrote: a sound result or an error of ours, in little time and memory.

What each is handed, and what is asked of it, stands in `tests/fuzz`; parsers that need Keras are in `tests/keras`.
"""

import tracemalloc

import pytest
from fuzz.bounds import limited_memory, tally
from fuzz.corpus import HERE, kept
from fuzz.mutation import mutated_json
from fuzz.targets import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fuzzing import damaged

WITH_KERAS = {"recipe", "result-json", "resumed-state", "rounds-json"}
each = pytest.mark.parametrize("target", targets().values(), ids=targets())


@each
def test_what_fuzzing_has_found(target):
    tally.clear()
    for content in target.seeds():
        target.run(content)
    assert tally["values"] or not tally["refused"], "nothing is read of what is sound"
    with limited_memory():
        for content in kept(target.name):
            target.run(content)


@each
def test_what_chance_finds(target):
    seeds = target.seeds()
    contents = st.sampled_from(seeds).flatmap(damaged)
    if target.json:
        contents |= st.builds(mutated_json, st.sampled_from(seeds), st.integers(0, 2**32)).map(lambda made: made or b"")

    @settings(
        max_examples=2 if target.slow else 50,
        deadline=None,
        derandomize=target.native,
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def holds(content):
        tracemalloc.start()
        try:
            target.run(content)
            assert tracemalloc.get_traced_memory()[1] < 1 << 25, "memory beyond all that the input can need"
        finally:
            tracemalloc.stop()

    holds()


def test_what_is_kept_is_small_and_of_a_parser():
    files = [path for folder in ("corpus", "found") for path in (HERE / folder).glob("*.txt")]
    assert {path.stem for path in files} <= {*targets(), *WITH_KERAS}
    assert sum(path.stat().st_size for path in files) < 300_000
