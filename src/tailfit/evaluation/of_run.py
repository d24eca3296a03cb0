"""Contents of a run's directory for its page, besides the evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.history import read_history
from tailfit.evaluation.origin import read_origin
from tailfit.evaluation.pictures import read_pictures, write_pictures
from tailfit.evaluation.score_report import worst_mistakes

__all__ = ["keep_pictures", "page_of_run"]


def keep_pictures(directory: Path, evaluation: EvaluationFigures, read: Callable[[Any], Any]) -> None:
    """Write small pictures of the worst mistakes into the directory of a run.

    Args:
        directory: Directory of the run.
        evaluation: Its evaluation.
        read: Function that returns the records at positions in the test part.
    """
    rows = worst_mistakes(evaluation)
    write_pictures(directory, rows, read(np.array(rows, dtype=np.int64)) if rows else None)


def page_of_run(directory: Path) -> dict[str, Any]:
    """Return the arguments of `report` that are read from the directory of a run.

    >>> page_of_run(Path("nowhere"))
    {'history': {}, 'origin': None, 'pictures': {}}
    """
    return {
        "history": read_history(directory),
        "origin": read_origin(directory),
        "pictures": read_pictures(directory),
    }
