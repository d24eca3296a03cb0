"""From scores to honest numbers: figures with intervals, tables, JSON, and self-contained HTML pages.

`evaluate` measures one classifier, `comparison` several trainings of several remedies, `report` and `compare_table`
show evaluations side by side.
"""

from tailfit.evaluation.comparisons import Comparison, comparison
from tailfit.evaluation.deciding import Decision, Stopped
from tailfit.evaluation.evaluation import Evaluation, evaluate
from tailfit.evaluation.evaluation_report import report
from tailfit.evaluation.event_figures import EventClass, EventFigures
from tailfit.evaluation.figures import ClassFigures
from tailfit.evaluation.grouping import Grouping
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.pages import ReportWarning
from tailfit.evaluation.slices import Slice
from tailfit.evaluation.tables import compare_table

__all__ = [
    "ClassFigures",
    "Comparison",
    "Decision",
    "Evaluation",
    "EventClass",
    "EventFigures",
    "Figure",
    "Grouping",
    "ReportWarning",
    "Slice",
    "Stopped",
    "compare_table",
    "comparison",
    "evaluate",
    "report",
]
