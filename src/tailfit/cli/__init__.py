"""The command line: `tailfit demo`, and what later joins it. Exit codes: 0 done, 1 the run failed, 2 bad input.

This room imports the rest of tailfit only inside its commands: the backend is chosen before Keras is imported.
"""

from tailfit.cli.app import main

__all__ = ["main"]
