"""The command line `tailfit`. Exit codes: 0 success, 1 a failed run or a problem found, 2 invalid input.

Commands import the rest of tailfit inside their functions: the backend must be chosen before Keras is imported, and
`tailfit --help` must be fast.
"""

from tailfit.cli.process import main

__all__ = ["main"]
