"""Writing of an exported file, and its scores, computed as its users will compute them."""

import importlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from tailfit.errors import ExportError, TailfitError
from tailfit.exporting.formats import Format
from tailfit.exporting.network import foreign_classes
from tailfit.keras_private import without_tensorflow
from tailfit.recipes.serving import without_times
from tailfit.storage.json_text import parsed
from tailfit.storage.writing import write_parts, write_text

__all__ = ["FILE_NAMES", "scores_of", "write"]

FILE_NAMES: Final[Mapping[Format, str]] = {
    "keras": "model.keras",
    "onnx": "model.onnx",
    "saved_model": "model",
    "torch": "model.pt2",
}
_DESCRIPTION: Final = "tailfit.json"  # in archives and folders
Floats = NDArray[np.float32]


def write(model: keras.Model, format: Format, path: Path, description: Mapping[str, Any]) -> None:
    """Write a model in a format.

    Args:
        model: Output of `raw_network`.
        format: The format.
        path: Path of the new file or folder.
        description: Names of classes and channels, which are stored in the file.
    Raises:
        ExportError: If the format can't contain the network.
    """
    try:
        _WRITERS[format](model, path, description)
    except TailfitError:
        raise
    except Exception as error:  # converters raise all kinds of errors
        raise ExportError(
            f"a network that {keras.backend.backend()} can't write as {format}: {type(error).__name__}: {error}",
            expected="layers and operations that the converter knows",
            fix="choose a different format, or a different backend with --backend",
        ) from error


def scores_of(path: Path, format: Format, records: Floats) -> Floats:
    """Return the scores that an exported file computes: of the first record alone, then of the others together."""
    run = _RUNNERS[format](path)
    return np.concatenate([run(records[:1]), run(records[1:])])


def _write_keras(model: keras.Model, path: Path, description: Mapping[str, Any]) -> None:
    with without_tensorflow():
        model.save(path)
    write_parts(path, [without_times(path)])  # the same run gives the same bytes
    with zipfile.ZipFile(path, "a") as archive:
        foreign = foreign_classes(parsed(archive.read("config.json")))
        archive.writestr(zipfile.ZipInfo(_DESCRIPTION), json.dumps(description, indent=1))
    if foreign:
        raise ExportError(
            f"a network with {', '.join(foreign[:3])}, which a .keras file refers to",
            expected="layers of Keras, so that the file needs nothing else",
            fix="export to onnx, saved_model or torch, which contain the computation itself",
        )


def _write_onnx(model: keras.Model, path: Path, description: Mapping[str, Any]) -> None:
    import onnx

    _backend().to_onnx(model, str(path))
    written = onnx.load(path)
    for values, name in ((written.graph.input, "records"), (written.graph.output, "scores")):
        _rename(written.graph, values[0].name, name)
        values[0].name = name
        values[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del written.metadata_props[:]
    for key, value in description.items():
        written.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    onnx.checker.check_model(written)
    onnx.save(written, path)


def _rename(graph: Any, old: str, new: str) -> None:
    """Rename a tensor wherever nodes refer to it, also in the graphs of loops and conditions."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)


def _write_saved_model(model: keras.Model, path: Path, description: Mapping[str, Any]) -> None:
    _backend().to_saved_model(model, str(path))
    extra = path / "assets.extra"  # where TensorFlow Serving expects what the graph does not use
    extra.mkdir()
    write_text(extra / _DESCRIPTION, json.dumps(description, indent=1))


def _write_torch(model: keras.Model, path: Path, description: Mapping[str, Any]) -> None:
    _backend().to_program(model, str(path), {_DESCRIPTION: json.dumps(description, indent=1)})


def _backend() -> Any:
    return importlib.import_module(f"tailfit.training.backends.{keras.backend.backend()}_export")


def _run_keras(path: Path) -> Callable[[Floats], Floats]:
    model = keras.saving.load_model(path, compile=False)
    return lambda records: np.asarray(model.predict(records, verbose=0))


def _run_onnx(path: Path) -> Callable[[Floats], Floats]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda records: np.asarray(session.run(["scores"], {"records": records})[0])


_WRITERS: Final[Mapping[Format, Callable[[keras.Model, Path, Mapping[str, Any]], None]]] = {
    "keras": _write_keras,
    "onnx": _write_onnx,
    "saved_model": _write_saved_model,
    "torch": _write_torch,
}
_RUNNERS: Final[Mapping[Format, Callable[[Path], Callable[[Floats], Floats]]]] = {
    "keras": _run_keras,
    "onnx": _run_onnx,
    "saved_model": lambda path: lambda records: np.asarray(_backend().run_saved_model(str(path), records)),
    "torch": lambda path: lambda records: np.asarray(_backend().run_program(str(path), records)),
}
