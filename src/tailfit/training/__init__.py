"""The training step and the whole loop, written once and compiled on every backend.

Concepts:
- `value_and_grad(fn, variables)`: the loss of a forward function and its gradients.
- `function(fn)`: any Python function that reads and writes Keras state, compiled.
- `Model`: a `keras.Model` whose `train_step(self, data)` has the same signature and code everywhere.

JAX compiles pure functions only, while Keras code changes variables. So there a step is *traced under a scope*
(`backends/jax_programs.py`) that hands out traced values for variables and collects what is assigned to them; which
variables a function touches is found by that trace itself. TensorFlow and PyTorch change variables in place.
"""

from tailfit.training.compiled import RetraceWarning, function
from tailfit.training.gradients import value_and_grad
from tailfit.training.model import Model

__all__ = ["Model", "RetraceWarning", "function", "value_and_grad"]
