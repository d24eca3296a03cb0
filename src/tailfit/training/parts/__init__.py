"""Training by parts: a batch is cut into pieces that are trained on separately, and combined in a fixed order.

Concepts:
- *parts*: number of pieces of a global batch, a constant of the run. The pieces define the numbers: random numbers,
  BatchNormalization and steps see a piece, whichever worker computes it.
- *node*: the sum over some consecutive pieces, in a binary tree that depends only on the number of parts. So any
  number of workers ends with the same bits: a worker sends the nodes of its pieces, and all finish the same tree.
- *state*: variables that a piece changes, apart from weights and optimizer. Every piece begins with their values at the
  start of the step. Float state of layers (moving statistics) is averaged, everything else adds up; a variable with
  `aggregation="mean"` or `"sum"` is averaged or added, whatever its owner.
"""

__all__: list[str] = []
