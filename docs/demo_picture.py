"""The picture of the demo's report in README.md: `python docs/demo_picture.py [tailfit-demo]`, after `tailfit demo`."""

import html
import re
import sys
from pathlib import Path

from tailfit.evaluation.charts import recall_chart
from tailfit.evaluation.figures import EvaluationFigures
from tailfit.evaluation.metrics import Figure
from tailfit.evaluation.svg import FAINT, INK
from tailfit.evaluation.tables import paired_differences

__all__ = ["picture"]

PICTURE = Path(__file__).parent / "images" / "demo.svg"
_HEADING = 64  # pixels above the chart


def picture(demo: Path) -> str:
    """Return one SVG: the overall result of a demo run as two lines of text, above its chart of recalls.

    The background is white, so that the picture can be read on dark pages, too.
    """
    evaluations = {
        name: EvaluationFigures.from_json((demo / f"{name.replace(' ', '-')}.json").read_text(encoding="utf-8"))
        for name in ("plain fit", "tailored")
    }
    plain, tailored = (evaluation.overall["balanced_accuracy"] for evaluation in evaluations.values())
    gain = paired_differences(evaluations)[1]["balanced_accuracy"]
    samples = len(evaluations["tailored"].y_true)
    lines = [
        f"balanced accuracy: plain fit {_with_interval(plain)}, tailored {_with_interval(tailored)}",
        f"paired difference {_with_interval(gain, '+')} on the same {samples} test samples",
    ]
    chart = recall_chart(evaluations).svg
    width, height = (float(number) for number in re.findall(r'(?:width|height)="([\d.]+)"', chart)[:2])
    texts = (
        f'<text x="8" y="{26 + 22 * i}" font-size="{15 - i}" font-weight="{700 - 300 * i}" '
        f'fill="{(INK, FAINT)[i]}">{html.escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-16 0 {width + 32:g} {height + _HEADING:g}" '
        f'width="{width + 32:g}" height="{height + _HEADING:g}" font-family="Helvetica, Arial, sans-serif">'
        f'<rect x="-16" width="100%" height="100%" rx="8" fill="white"/>{"".join(texts)}'
        f'<g transform="translate(0 {_HEADING})">{chart}</g></svg>\n'
    )


def _with_interval(figure: Figure, sign: str = "") -> str:
    return f"{figure:{sign}.3f} [{figure.low:{sign}.3f}, {figure.high:{sign}.3f}]"


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(Path(sys.argv[1] if len(sys.argv) > 1 else "tailfit-demo")), encoding="utf-8")
