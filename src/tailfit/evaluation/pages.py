"""Common parts of the HTML pages: the template environment, charts with their data, and versions."""

import base64
import hashlib
import json
import platform
import warnings
from collections.abc import Callable
from typing import Any, Final

import jinja2
import numpy as np
from markupsafe import Markup

import tailfit
from tailfit.evaluation.charts import Chart
from tailfit.text import TailfitWarning, visible

__all__ = ["ReportWarning", "as_block", "draw", "environment", "versions"]


class ReportWarning(TailfitWarning):
    """Warning that a chart or a page could not be made; the figures themselves are not affected."""


environment = jinja2.Environment(
    loader=jinja2.PackageLoader("tailfit.evaluation"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
SLIDER: Final = environment.get_template("slider.js").render()
# The only script that a page may run: this very text, whatever the page contains.
_DIGEST: Final = base64.b64encode(hashlib.sha256(SLIDER.encode()).digest()).decode()
environment.globals.update(slider=Markup(SLIDER), slider_digest=f"sha256-{_DIGEST}")
environment.filters["visible"] = lambda text: visible(str(text))
environment.filters["visible_lines"] = lambda text: "\n".join(map(visible, text.splitlines()))


def versions() -> dict[str, str]:
    """Return the versions for the foot of a page."""
    return {"tailfit": tailfit.__version__, "NumPy": np.__version__, "Python": platform.python_version()}


def draw(chart: Callable[..., Chart], label: str) -> dict[str, Any]:
    """Draw a chart for a template: the SVG, and its data as JSON.

    The figures of a page matter more than its charts: a chart that fails is reported as a `ReportWarning` and as a
    line of text on the page.

    Args:
        chart: Function of `label` that returns the chart.
        label: The text alternative of the chart.
    """
    try:
        drawn = chart(label=label)
    except Exception as error:
        failed = f"{label}: this chart could not be drawn ({type(error).__name__}: {str(error).strip()[:300]})"
        warnings.warn(f"{failed}. The figures next to it are complete.", ReportWarning, stacklevel=2)
        return {"failed": failed}
    return {"failed": None, "svg": Markup(drawn.svg), "data": as_block(drawn.data)}


def as_block(data: Any) -> Markup:
    """Return data as JSON for a block of a page: `</script` in a name would end the block, so it is escaped."""
    escapes = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
    return Markup(json.dumps(data, separators=(",", ":")).translate(escapes))
