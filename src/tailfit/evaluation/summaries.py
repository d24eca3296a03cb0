"""All tables of an evaluation for terminals: classes, and recordings, events and slices if they were measured."""

from rich.console import RenderableType
from rich.text import Text

from tailfit.evaluation.event_tables import events_table
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.slice_tables import slice_table
from tailfit.evaluation.tables import compare_table

__all__ = ["summaries"]


def summaries(evaluation: EvaluationFigures) -> list[RenderableType]:
    """Return the tables of an evaluation, in the order in which they are printed."""
    tables: list[RenderableType] = [compare_table({evaluation.name: evaluation})]
    if evaluation.recordings is not None:
        number = len(evaluation.recordings.y_true)
        tables += [
            Text(f"\n{number:,} recordings, with one decision for each", style="bold"),
            compare_table({evaluation.recordings.name: evaluation.recordings}),
        ]
    if evaluation.events is not None:
        tables += ["", events_table(evaluation.events)]
    for column in evaluation.slices:
        tables += ["", slice_table(evaluation, column)]
    return tables
