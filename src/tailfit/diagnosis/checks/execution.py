"""Traps 8 and 24: settings of how steps run that have no effect, or fail."""

from collections.abc import Iterator

import keras

from tailfit.diagnosis.registry import Problem, check
from tailfit.diagnosis.setup import Setup

__all__: list[str] = []


@check(8, "steps_per_execution has no effect")
def steps_per_execution(setup: Setup) -> Iterator[Problem]:
    """Keras 3.15 runs the steps in a Python loop on JAX, and refuses them on torch."""
    steps = getattr(setup.model, "steps_per_execution", 1)
    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    if steps < 2 or setup.backend == "tensorflow" or (setup.backend == "jax" and version > (3, 15)):
        return
    if setup.backend == "torch":
        what = "fit raises an error: Keras takes steps_per_execution=1 only on torch."
    else:
        what = (
            f"On JAX, Keras {keras.__version__} calls the compiled step {steps} times from Python: nothing gets faster."
        )
    yield Problem(
        what,
        "drop steps_per_execution on this backend, and use a larger batch if steps are short",
        "tailfit.Model runs K steps as one compiled program on JAX, and K steps per call on torch",
        f"steps_per_execution={steps}: {steps} separate steps per call",
        setup.compiled,
    )


@check(24, "a batch that cannot be divided among the devices")
def indivisible_batches(setup: Setup) -> Iterator[Problem]:
    """JAX cannot shard an axis whose length is no multiple of the number of devices."""
    spread = keras.distribution.distribution()
    if setup.backend != "jax" or spread is None:
        return
    devices = int(spread.device_mesh.shape[0])
    sizes = [len(keras.tree.flatten(batch.x)[0]) for batch in setup.batches]
    wrong = next((size for size in reversed(sizes) if size % devices), None)
    if devices > 1 and wrong is not None:
        yield Problem(
            f"fit raises an IndivisibleError at a batch whose size is not a multiple of {devices} devices. If this is "
            "the last one, that is at the end of the first epoch.",
            "use a batch size that is a multiple of the number of devices, and drop or pad the last batch",
            "Batches(drop_remainder=True), or shard=(index, count), which makes parts of equal length",
            f"a batch of {wrong} samples for {devices} devices",
        )
