"""`tailfit demo`, which runs examples/demo.py from the checkout, or its copy in the wheel."""

import runpy
from pathlib import Path

import tailfit
from tailfit.cli.importing import imports_uncollected
from tailfit.errors import DataError

__all__ = ["run_demo"]


def run_demo(out: Path, seed: int) -> None:
    """Run the demo.

    Raises:
        DataError: If the installation lacks the file.
    """
    package = Path(tailfit.__file__).parent
    places = [package / "_examples" / "demo.py", package.parents[1] / "examples" / "demo.py"]
    script = next((place for place in places if place.is_file()), None)
    if script is None:
        raise DataError(
            f"no file {places[0]}", expected="a complete installation of tailfit", fix="install tailfit again"
        )
    with imports_uncollected():
        from tailfit.keras_private import without_tensorflow  # here, because it imports Keras, which reads the backend

    with without_tensorflow():
        runpy.run_path(str(script))["main"](out, seed)
