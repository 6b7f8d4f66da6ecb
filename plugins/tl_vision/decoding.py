"""From a file to the pixels that a person would see, or a reason why not."""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageOps, UnidentifiedImageError

from tlcore import UnreadableError

__all__ = ["FORMATS", "PIXEL_LIMIT", "decoded"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Decoders that may run; Pillow has dozens more, one of which starts an external program."""
PIXEL_LIMIT = 100_000_000
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def decoded(source: Any) -> Image.Image:
    """Return a picture (a path, or encoded bytes) as RGB: upright, in 8 bits, transparency on white, first frame.

    Raises:
        UnreadableError: no such file, no picture, a damaged or truncated one, or one of more than 100 megapixels.
    """
    if isinstance(source, (str, Path)):
        return _opened(_regular_file(Path(source)))
    if isinstance(source, (bytes, bytearray)):
        return _opened(io.BytesIO(source))
    raise UnreadableError(f"a picture is a path or encoded bytes, not {type(source).__name__}")


def _regular_file(path: Path) -> Path:
    """Refuse a pipe or a device, which would never end."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        raise UnreadableError("no such file") from None
    except (OSError, ValueError) as error:  # a name too long, a folder that may not be searched, a loop of links
        raise UnreadableError(_reason(error)) from error
    if not regular:
        raise UnreadableError("not a regular file")
    return path


def _opened(source: Path | io.BytesIO) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # The limit below is checked before any pixel is decoded, and for every format.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as picture:
                width, height = picture.size
                if width * height > PIXEL_LIMIT:
                    raise UnreadableError(f"{width} x {height} pixels are more than {PIXEL_LIMIT // 10**6} megapixels")
                picture.seek(0)
                picture.load()
                return _on_white(_eight_bits(ImageOps.exif_transpose(picture)))
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UnreadableError(f"no picture in one of the formats {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders of damaged files fail in many ways, and each is a reason
        raise UnreadableError(_reason(error)) from error


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale what has more than 8 bits a channel; Pillow's own conversion clips it to white."""
    if picture.mode in SIXTEEN_BIT or picture.mode == "I":
        values = numpy.asarray(picture).astype(numpy.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableError("an integer picture with values outside of 16 bits has no known scale")
        return Image.fromarray(((values + 128) // 257).astype(numpy.uint8), "L")
    if picture.mode == "F":
        values = numpy.asarray(picture)
        if not numpy.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise UnreadableError("a floating-point picture with values outside of 0 to 1 has no known scale")
        return Image.fromarray((values * 255 + 0.5).astype(numpy.uint8), "L")
    return picture


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _reason(error: Exception) -> str:
    """Return one short line, and of a failed system call only what failed: its text repeats the whole path."""
    lines = (getattr(error, "strerror", None) or str(error)).splitlines()
    return lines[0][:200] if lines else type(error).__name__
