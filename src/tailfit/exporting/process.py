"""The program of the process that writes an exported file, `python -m tailfit.exporting.process`.

A process of its own, because TensorFlow and torch abort in one process, and a format may need another backend than the
run. It computes on the CPU, where all backends agree to the last digits of float32.
"""

import sys
from pathlib import Path

from tailfit.processes.messages import Message, describe_error, exit_code
from tailfit.processes.parent import Parent

__all__ = ["main"]


def main() -> int:
    """Write the file that standard input names, and return the exit code."""
    parent = Parent()
    job = parent.receive()
    if job is None:
        print("tailfit: this program is started by `tailfit export`", file=sys.stderr)
        return 2
    try:
        half = _work(job)
    except Exception as error:
        parent.send({"error": describe_error(error)})
        return exit_code(error)
    parent.send({"done": True, "half": half})
    return 0


def _work(job: Message) -> bool:
    """Write the file and the scores, and return whether the network computes in half precision."""
    import numpy as np

    from tailfit.exporting.converting import FILE_NAMES, scores_of, write
    from tailfit.exporting.network import raw_network
    from tailfit.recipes.trained import load_trained

    folder = Path(job["folder"])
    records = np.load(folder / "records.npy", allow_pickle=False)
    trained = load_trained(Path(job["run"]), job["modules"])
    path = folder / "written" / FILE_NAMES[job["format"]]
    path.parent.mkdir()
    model = raw_network(trained)
    model(records[:1])  # JAX: a model is exported once it has been called
    write(model, job["format"], path, job["description"])
    fill = trained.result.fill
    inputs = records if fill is None else fill(records)
    np.save(folder / "expected.npy", trained.result.corrected(trained.model.predict(inputs, verbose=0)))
    np.save(folder / "scores.npy", scores_of(path, job["format"], records))
    return any(getattr(layer, "compute_dtype", "") in ("float16", "bfloat16") for layer in trained.model.layers)


if __name__ == "__main__":
    sys.exit(main())
