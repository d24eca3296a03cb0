"""`tailfit demo` runs examples/demo.py: from the checkout, or the copy that the wheel carries."""

import runpy
from pathlib import Path

import tailfit
from tailfit.errors import DataError

__all__ = ["run_demo"]


def run_demo(out: Path, seed: int) -> None:
    """Run the demo.

    Raises:
        DataError: the installation lacks the file.
    """
    package = Path(tailfit.__file__).parent
    places = [package / "_examples" / "demo.py", package.parents[1] / "examples" / "demo.py"]
    script = next((place for place in places if place.is_file()), None)
    if script is None:
        raise DataError(
            f"no demo at {places[0]}", expected="a complete installation", fix="install tailfit again from a wheel"
        )
    from tailfit.keras_private import without_tensorflow  # only now: Keras reads its backend when it is imported

    with without_tensorflow():
        runpy.run_path(str(script))["main"](out, seed)
