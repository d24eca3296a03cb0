"""Steps on torch as recorded graphs: the operators of one step, called again without Keras and autograd.

- `tape`: what is recorded.
- `recorder`, `seeds`: recording a step while it runs.
- `simplify`, `lines`: the calls that a repetition still has to make, and running them.
- `program`, `state`: all recordings of a step for inputs of one form, and the checks before they are used.
- `cuda_graph`: repetitions on a GPU without Python between operators.
- `numbers`: the numbers and flags of Python that a step must not change.
- `traced`: when to record, when to repeat, and when to do neither.
"""

from tailfit.training.backends.torch_graph.numbers import numbers_around, numbers_of
from tailfit.training.backends.torch_graph.traced import Traced, enabled

__all__ = ["Traced", "enabled", "numbers_around", "numbers_of"]
