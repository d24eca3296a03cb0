"""From scores to honest numbers: figures with intervals, a table, JSON, a self-contained HTML page."""

from tailfit.evaluation.comparison import Comparison, comparison
from tailfit.evaluation.evaluation import ClassFigures, Evaluation, evaluate
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.pages import ReportWarning
from tailfit.evaluation.report import report
from tailfit.evaluation.tables import compare_table

__all__ = [
    "ClassFigures",
    "Comparison",
    "Evaluation",
    "Figure",
    "ReportWarning",
    "compare_table",
    "comparison",
    "evaluate",
    "report",
]
