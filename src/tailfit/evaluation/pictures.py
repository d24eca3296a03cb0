"""Small pictures of samples, for the list of the worst mistakes: curves of series, thumbnails of images.

A run keeps them as numbers and PNG in `pictures.json`, so that the page can be made again without the data. They are
checked when they are read, and drawn again: nothing in the file becomes markup.
"""

import base64
import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from tailfit.errors import DataError
from tailfit.evaluation.svg import PALETTE, Drawing
from tailfit.storage.json_text import MOST_JSON, fields_of
from tailfit.storage.reading import read_text
from tailfit.storage.writing import write_text

__all__ = ["PICTURES_FILE", "draw_pictures", "pictures_of", "read_pictures", "write_pictures"]

PICTURES_FILE: Final = "pictures.json"
_FORMAT: Final = {"format": "tailfit.pictures", "version": 1}
_MOST_CURVES: Final = 4
_MOST_CHANNELS: Final = 16  # a record of more columns is an image
_POINTS: Final = 48  # of a curve, at most
_SIDE: Final = 40  # pixels of an image, at most
_WIDTH, _HEIGHT = 120.0, 36.0
_LONGEST: Final = 20_000  # characters of a thumbnail


def pictures_of(records: Any) -> list[dict[str, Any]] | None:
    """Return a picture of each record, ready for JSON; None if the records are neither series nor images.

    Args:
        records: Array of records: `[n, steps, channels]`, `[n, height, width]` or `[n, height, width, colours]`.

    >>> pictures_of(np.arange(20.0).reshape(1, 10, 2))[0]["curves"][1][:3]
    [1.0, 3.0, 5.0]
    """
    if not isinstance(records, np.ndarray) or records.dtype.kind not in "biuf":
        return None
    if records.ndim == 4 and records.shape[3] in (1, 3, 4):
        return [{"png": _png(_thumbnail(each))} for each in records]
    if records.ndim == 3 and records.shape[2] > _MOST_CHANNELS and records.shape[1] > _MOST_CHANNELS:
        return [{"png": _png(_thumbnail(each[..., np.newaxis]))} for each in records]
    if records.ndim == 3 and records.shape[1] >= 4:
        return [{"curves": [_thinned(curve) for curve in each.T[:_MOST_CURVES]]} for each in records]
    return None


def write_pictures(directory: Path, rows: Sequence[int], records: Any) -> None:
    """Write the pictures of some samples into the directory of a run, if they have any.

    Args:
        directory: Directory of the run.
        rows: Their positions in the test part.
        records: Their records.
    """
    pictures = pictures_of(records)
    if pictures is None or not rows:
        (directory / PICTURES_FILE).unlink(missing_ok=True)  # of an earlier recipe
        return
    by_row = {str(row): each for row, each in zip(rows, pictures, strict=True)}
    text = json.dumps({**_FORMAT, "pictures": by_row}, separators=(",", ":"), allow_nan=False)
    write_text(directory / PICTURES_FILE, text)


def read_pictures(directory: Path) -> dict[int, dict[str, Any]]:
    """Return the pictures of a run by position in the test part; empty without a file, or if it is damaged."""
    try:
        fields = fields_of(read_text(directory / PICTURES_FILE, MOST_JSON), _FORMAT, "", name=PICTURES_FILE)
        return {int(row): _checked(each) for row, each in fields["pictures"].items()}
    except (DataError, OSError, LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return {}


def draw_pictures(pictures: Mapping[int, Mapping[str, Any]], rows: Sequence[int], names: Sequence[str]) -> list[Markup]:
    """Return the picture of each sample as markup, or an empty text for samples without a picture.

    Args:
        pictures: What `read_pictures` returned.
        rows: Positions of the samples.
        names: Their names, for the text alternatives.
    """
    return [_drawn(pictures.get(row), name) for row, name in zip(rows, names, strict=True)]


def _drawn(picture: Mapping[str, Any] | None, name: str) -> Markup:
    if picture is None:
        return Markup("")
    if "png" in picture:
        return Markup('<img src="data:image/png;base64,{}" alt="{}">').format(picture["png"], f"image of {name}")
    drawing = Drawing(_WIDTH, _HEIGHT, label=f"readings of {name}")
    for place, curve in enumerate(picture["curves"]):
        for points in _pieces(curve):
            drawing.line(points, stroke=PALETTE[1 + place], width=1.2)
    return Markup(drawing.svg())


def _pieces(curve: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Return the points of a curve over its own range, in pieces between missing readings."""
    known = [value for value in curve if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    pieces: list[list[tuple[float, float]]] = [[]]
    for step, value in enumerate(curve):
        if value is None:
            pieces.append([])
            continue
        y = 0.5 if high == low else (value / 2 - low / 2) / (high / 2 - low / 2)  # halves, or it could overflow
        pieces[-1].append((2 + (_WIDTH - 4) * step / max(len(curve) - 1, 1), 2 + (_HEIGHT - 4) * (1 - y)))
    return [piece for piece in pieces if len(piece) > 1]


def _thinned(curve: NDArray[Any]) -> list[float | None]:
    """Return the means of at most `_POINTS` pieces of a curve, to four digits; None where there is no reading."""
    values = curve.astype(np.float64)
    values[~np.isfinite(values)] = np.nan
    means = []
    for piece in np.array_split(values, min(_POINTS, len(values))):
        known = piece[~np.isnan(piece)]
        means.append(float(f"{known.mean():.4g}") if len(known) else None)
    return means


def _thumbnail(image: NDArray[Any]) -> NDArray[np.uint8]:
    height, width = (-(-side // _SIDE) for side in image.shape[:2])
    small = image[::height, ::width]
    if small.dtype == np.uint8:
        return small
    values = np.nan_to_num(small.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return (255 * (values - low) / (high - low or 1.0)).round().astype(np.uint8)


def _png(image: NDArray[np.uint8]) -> str:
    """Encode an image `[height, width, 1 | 3 | 4]` as PNG, in base64."""
    height, width, colours = image.shape
    rows = b"".join(b"\0" + image[row].tobytes() for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[colours], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content).decode()


def _checked(picture: Any) -> dict[str, Any]:
    if "png" in picture:
        text = picture["png"]
        if not isinstance(text, str) or len(text) > _LONGEST or base64.b64decode(text, validate=True)[1:4] != b"PNG":
            raise ValueError("no thumbnail")
        return {"png": text}
    curves = [[None if value is None else float(value) for value in curve] for curve in picture["curves"]]
    if len(curves) > _MOST_CURVES or any(len(curve) > _POINTS for curve in curves):
        raise ValueError("more than a picture has")
    if not all(value is None or math.isfinite(value) for curve in curves for value in curve):
        raise ValueError("a value that is not finite")
    return {"curves": curves}
