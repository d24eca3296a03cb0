"""The pictures on the page about reports: `python docs/report_pictures.py [FOLDER]`, with Chromium; three minutes.

Trains a comparison of three remedies on synthetic pumps in the folder, unless it is there, and takes pictures of the
pages of a run and of the comparison at 1,400 and 360 pixels, light and dark.
"""

import io
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from playwright.sync_api import sync_playwright

import tailfit

__all__ = ["pumps", "take"]

IMAGES = Path(__file__).parent / "images"
CAUSES = {"normal": 0.62, "valve leak": 0.2, "pump wear": 0.1, "air lock": 0.05, "sensor drift": 0.03}
RECIPE = {
    "data": {"path": "pumps", "group": "pump", "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "network": {"name": "cnn", "filters": [16, 32]},
    "epochs": 15,
}
VARY = {"plain": {}, "adjusted": {"loss": "LogitAdjusted"}, "balanced": {"sampler": "ClassBalanced"}}


def pumps(folder: Path) -> None:
    """Write records of 60 pumps at three sites: 48 steps of three sensors, and the cause of the fault."""
    rng = np.random.default_rng(0)
    pump = np.repeat(np.arange(60), 25)
    cause = rng.choice(len(CAUSES), len(pump), p=list(CAUSES.values()))
    steps = np.linspace(0, 1, 48)
    x = rng.normal(0, 0.55, (len(pump), 48, 3)) + rng.normal(0, 0.3, (60, 1, 3))[pump]
    x[cause == 1, :, 0] -= 0.8 * steps
    x[cause == 2, :, 1] += 0.5 * np.sin(25 * steps)
    x[cause == 3, :, 0] += 0.9 * (steps > 0.6)
    x[cause == 4, :, 2] += 0.8 * steps
    ids = [f"pump {p:02d}, record {k}" for p, k in zip(pump, np.arange(len(pump)) % 25, strict=True)]
    site = np.array(["north", "south", "harbour"])[pump % 3]
    table = pl.DataFrame({"id": ids, "pump": [f"pump {p:02d}" for p in pump], "site": site})
    tailfit.data.save_npy_folder(folder, x.astype("float32"), np.array(list(CAUSES))[cause], ids, metadata=table)


def take(browser: Any, page: Path, width: int, height: int, *, dark: bool, section: str = "") -> Image.Image:
    """Return a picture of a page from its top, or from a heading on."""
    scheme = "dark" if dark else "light"
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    tab.goto(page.as_uri())
    if section:
        tab.evaluate(f"document.getElementById({section!r}).scrollIntoView()")
    picture = Image.open(io.BytesIO(tab.screenshot()))
    tab.close()
    return picture.convert("RGB")


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Return pictures of one height in a row."""
    width = sum(each.width + 12 for each in pictures) - 12
    row = Image.new("RGB", (width, pictures[0].height), "#8a939b")
    for number, each in enumerate(pictures):
        row.paste(each, (sum(other.width + 12 for other in pictures[:number]), 0))
    return row


def main(folder: Path) -> None:
    if not (folder / "compared" / "report.html").is_file():
        pumps(folder / "pumps")
        os.chdir(folder)
        tailfit.compare(RECIPE, VARY, 3, directory="compared")
    run, compared = folder / "compared" / "01-adjusted" / "seed-0" / "report.html", folder / "compared" / "report.html"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        sections = ("", "scores", "training")
        pictures = {
            "report-1400-light": take(browser, run, 1400, 1500, dark=False, section="scores"),
            "report-1400-dark": take(browser, run, 1400, 1500, dark=True),
            "report-360-light": side_by_side(
                [take(browser, run, 360, 740, dark=False, section=each) for each in sections]
            ),
            "report-360-dark": side_by_side(
                [take(browser, run, 360, 740, dark=True, section=each) for each in ("classes", "confusions", "all")]
            ),
            "comparison-1400-light": take(browser, compared, 1400, 1500, dark=False),
            "comparison-1400-dark": take(browser, compared, 1400, 1200, dark=True, section="classes"),
            "comparison-360-light": side_by_side(
                [take(browser, compared, 360, 740, dark=False, section=each) for each in ("", "all", "classes")]
            ),
        }
        browser.close()
    for name, picture in pictures.items():
        picture.save(IMAGES / f"{name}.webp", quality=72, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "pumps-pictures").absolute())
