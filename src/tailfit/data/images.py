"""One image: bytes to an array of a stated mode and size, or refused."""

import io
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tailfit.data.needed import needed
from tailfit.errors import ArgumentError, RecordError
from tailfit.samplers.base import whole_number

__all__ = ["Decoder", "Mode"]

Mode = Literal["L", "RGB", "RGBA", "I;16"]
# Of the decoders that Pillow has, some run other programs on what is in the file.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


@dataclass(frozen=True)
class Decoder:
    """What images are brought to.

    Attributes:
        mode: Pillow's name of the pixels' form.
        size: `(height, width)` to scale to; None leaves an image as it is.
        max_pixels: The largest image that is decoded.
    Raises:
        ArgumentError: for what these can't be.
        PackageError: without pillow.
    """

    mode: Mode
    size: tuple[int, int] | None
    max_pixels: int

    def __post_init__(self) -> None:
        needed("PIL.Image", "images", "an image")
        if self.mode not in get_args(Mode):
            raise ArgumentError(f"mode={self.mode!r}", allowed=f"one of {get_args(Mode)}", mend="use mode='RGB'")
        whole_number("max_pixels", self.max_pixels, least=1)
        if self.size is not None and (not isinstance(self.size, tuple | list) or len(self.size) != 2):
            raise ArgumentError(f"size={self.size!r}", allowed="(height, width)", mend="pass a tuple of two")
        for what, length in zip(("height", "width"), self.size or (), strict=False):
            whole_number(what, length, least=1)

    @property
    def channels(self) -> int:
        """Of a pixel."""
        return {"RGB": 3, "RGBA": 4}.get(self.mode, 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return np.dtype(np.uint16 if self.mode == "I;16" else np.uint8)

    def __call__(self, content: bytes, where: str) -> NDArray[Any]:
        """The image in the bytes of a file, `[height, width, channels]`.

        Args:
            content: The bytes.
            where: What messages call the file.
        Raises:
            RecordError: beginning with `where`: not an image, truncated, too large, or of another depth.
        """
        try:
            array = self._decoded(content)
        except Exception as error:  # Pillow's decoders raise of all kinds
            what = (str(error).splitlines() or [type(error).__name__])[0]
            deep = "16 bits a pixel" if self.mode == "I;16" else "8 bits a pixel; mode='I;16' reads 16"
            raise RecordError(
                f"{where}: {what}",
                allowed=f"a whole image of at most {self.max_pixels} pixels, {deep}",
                mend="replace or remove the file",
            ) from error
        return array.reshape(*array.shape[:2], self.channels)

    def _decoded(self, content: bytes) -> NDArray[Any]:
        pil, ops = needed("PIL.Image", "images", "an image"), needed("PIL.ImageOps", "images", "an image")
        with pil.open(io.BytesIO(content), formats=_FORMATS) as image:
            width, height = image.size  # as the header says: nothing is decoded yet
            if width * height > self.max_pixels:
                raise ValueError(f"an image of {height} x {width} pixels")
            # Pillow would cut off at 255 what has more bits.
            if image.mode[0] in "IF" and (self.mode != "I;16" or not image.mode.startswith("I;16")):
                raise ValueError(f"an image of mode {image.mode}")
            if image.mode[0] not in "IF" and self.mode == "I;16":
                raise ValueError(f"an image of mode {image.mode}")
            upright = ops.exif_transpose(image)
            if self.mode != "I;16":
                upright = upright.convert(self.mode)
            if self.size is not None:
                upright = upright.resize(tuple(self.size[::-1]), pil.Resampling.BILINEAR)
            return np.asarray(upright)
