"""Time to make the page of an evaluation, and to open it in Chromium: 10^6 test samples of 1,000 long-tailed classes.

    python benchmarks/pages [--samples 1000000] [--classes 1000] [--out benchmarks/pages/results.txt]

"Open" is the time until the page is laid out in a new tab of headless Chromium (Playwright). With scores, curves and
calibration read a matrix of samples times classes (4 GB as float32), which `evaluate` gets and `predictions.parquet`
keeps.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

import tailfit


def measure(heading: str, y: np.ndarray, scores: np.ndarray, classes: int, browser: Any, folder: Path) -> list[str]:
    start = time.perf_counter()
    names = [f"class {k}" for k in range(classes)]
    evaluation = tailfit.evaluate(y, scores, names, np.bincount(y, minlength=classes))
    evaluated = time.perf_counter()
    page = evaluation.to_html()
    made = time.perf_counter()
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    times = []
    for _ in range(3):
        before = time.perf_counter()
        tab = browser.new_page()
        tab.goto(path.as_uri())
        tab.evaluate("document.body.getBoundingClientRect().height")
        times.append(time.perf_counter() - before)
        tab.close()
    return [
        f"{heading}: evaluate {evaluated - start:.2f} s, make the page {made - evaluated:.2f} s "
        f"({len(page) / 1e6:.2f} MB), open it {sorted(times)[1]:.2f} s"
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, options.classes + 1)
    y = rng.choice(options.classes, options.samples, p=shares / shares.sum())
    lines = [
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}",
        f"Python {platform.python_version()}, NumPy {np.__version__}, tailfit {tailfit.__version__}",
        "",
        f"{options.samples:,} samples, {options.classes:,} classes",
    ]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        predicted = np.where(rng.random(len(y)) < 0.8, y, rng.permutation(y))
        lines += measure("predicted classes", y, predicted, options.classes, browser, Path(folder))
        scores = rng.standard_normal((len(y), options.classes), dtype=np.float32)
        scores[np.arange(len(y)), y] += 4
        lines += measure("scores", y, scores, options.classes, browser, Path(folder))
        browser.close()
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
