"""Formats of exported networks, the packages that they need, and the backend that writes each.

Networks are built from layers of Keras, so the backend of the training does not matter: weights are loaded on whichever
backend writes the format.
"""

import importlib.util
from pathlib import Path
from typing import Final, Literal, get_args

from tailfit.errors import ArgumentError, PackageError

__all__ = ["Format", "backend_for", "format_of"]

Format = Literal["keras", "onnx", "saved_model", "torch"]
_SUFFIXES: Final[dict[str, Format]] = {".keras": "keras", ".onnx": "onnx", ".pt2": "torch", "": "saved_model"}
_BACKENDS: Final[dict[str, tuple[str, ...]]] = {"saved_model": ("tensorflow",), "torch": ("torch",)}
# Converters to ONNX by backend, and the extra of tailfit that installs each; the first one found is used.
_CONVERTERS: Final[dict[str, tuple[str, str]]] = {
    "jax": ("jax2onnx", "onnx-jax"),
    "torch": ("onnxscript", "onnx"),
    "tensorflow": ("tf2onnx", "onnx"),
}


def format_of(path: Path, given: str | None) -> Format:
    """Return the format of an export: the one given, or that of the file name.

    Raises:
        ArgumentError: If the format is unknown, or the name has the ending of a different one.

    >>> format_of(Path("model.onnx"), None), format_of(Path("model"), None)
    ('onnx', 'saved_model')
    """
    known = get_args(Format)
    by_name = _SUFFIXES.get(path.suffix.lower())
    found = by_name if given is None else given
    if found not in known:
        raise ArgumentError(
            f"format={given!r}" if given is not None else f"{path}: no format that this name ends with",
            expected=f"one of {', '.join(known)}",
            fix="name the file model.keras, model.onnx or model.pt2, or pass --format (in Python: format=)",
        )
    if by_name not in (None, found) and path.suffix:
        raise ArgumentError(
            f"format={given!r} for {path.name}",
            expected=f"a name with the ending of that format, not of {by_name}",
            fix="change the format or the name",
        )
    if found == "keras" and by_name != "keras":  # Keras would not load it
        raise ArgumentError(f"{path.name} for the format keras", expected="a name that ends with .keras", fix="add it")
    return found  # type: ignore[return-value]


def backend_for(format: Format, preferred: str) -> str:
    """Return the backend that writes a format.

    Args:
        format: The format.
        preferred: Backend that is used if it can write the format.
    Raises:
        PackageError: If the packages that the format needs are not installed.
    """
    if format == "keras":
        return preferred
    if format == "onnx":
        return _onnx_backend(preferred)
    backend = _BACKENDS[format][0]
    if not _installed(backend):
        raise PackageError(
            f"format={format!r}, which needs {backend}",
            expected=f"the package {backend} installed; without it, the formats keras and onnx can be written",
            fix=f"run: pip install 'tailfit[{backend}]', or choose a different format",
        )
    return backend


def _onnx_backend(preferred: str) -> str:
    for package in ("onnx", "onnxruntime"):
        if not _installed(package):
            raise PackageError(
                f"format='onnx', which needs {package}",
                expected=f"the package {package} installed",
                fix=f"run: pip install 'tailfit[{_CONVERTERS[preferred][1]}]'",
            )
    usable = [name for name, (package, _) in _CONVERTERS.items() if _installed(name) and _installed(package)]
    if not usable:
        package, extra = _CONVERTERS[preferred]
        raise PackageError(
            f"format='onnx', which needs {package} on {preferred}",
            expected="jax2onnx with JAX, onnxscript with torch, or tf2onnx with TensorFlow",
            fix=f"run: pip install 'tailfit[{extra}]', or export to the format keras",
        )
    return preferred if preferred in usable else usable[0]


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
