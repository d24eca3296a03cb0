"""The page of a run or comparison, and its pictures: all results are complete without them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tailfit.data import Source
from tailfit.evaluation import Comparison, Evaluation, ReportWarning
from tailfit.evaluation.of_run import keep_pictures, page_of_run
from tailfit.evaluation.pictures import PICTURES_FILE
from tailfit.recipes.directory import locked

__all__ = ["complete_report", "save_pictures", "save_report"]


def save_report(evaluation: Evaluation | Comparison, place: Path) -> None:
    """Write the report page of a run or comparison as its last file; a failure is only a `ReportWarning`."""
    with _failure_is_a_warning(place / "report.html"):
        options = page_of_run(place) if isinstance(evaluation, Evaluation) else {}
        evaluation.save_html(place / "report.html", **options)


def save_pictures(evaluation: Evaluation, source: Source, place: Path) -> None:
    """Write pictures of the worst mistakes for the page; a failure is only a `ReportWarning`.

    Args:
        evaluation: Evaluation on the test part.
        source: The test part.
        place: Directory of the run.
    """
    with _failure_is_a_warning(place / PICTURES_FILE):
        keep_pictures(place, evaluation, source.read)


def complete_report(place: Path) -> None:
    """Write the page of a finished run whose process was killed before or while it wrote the page."""
    with locked(place):
        if not (place / "report.html").is_file():
            save_report(Evaluation.load(place), place)


@contextmanager
def _failure_is_a_warning(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        warnings.warn(
            f"{path} was not written ({type(error).__name__}: {error}); all results were.",
            ReportWarning,
            stacklevel=4,
        )
