"""What the directory of a run tells for its page, besides the evaluation."""

from pathlib import Path
from typing import Any

from tailfit.evaluation.history import read_history
from tailfit.evaluation.origin import read_origin
from tailfit.evaluation.pictures import read_pictures

__all__ = ["page_of_run"]


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
