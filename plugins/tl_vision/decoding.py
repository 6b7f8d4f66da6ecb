"""From a file to the pixels that a person would see, or a reason why not."""

from __future__ import annotations

import contextlib
import io
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from tl_vision.content import START, what_it_is
from tl_vision.jpeg import Values, decode_jpeg
from tl_vision.missing_pixels import require_palette, require_png_pixels, require_tiff_pixels
from tlcore import UnreadableError

__all__ = ["DECODER", "FORMATS", "PIXEL_LIMIT", "decoded", "pixels_of"]

DECODER = "simplejpeg for JPEGs, else pillow; what is missing or damaged is refused"

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Decoders that may run; Pillow has dozens more, one of which starts an external program."""
PIXEL_LIMIT = 100_000_000
MORE_THAN_THE_LIMIT = f"more than {PIXEL_LIMIT // 10**6} megapixels, the most that is decoded"
PILLOW = r"PIL\."
BAND = 2**20
"""Pixels that are converted together."""
LARGEST_JPEG = 2**28
"""Bytes that are read of a file: more than ``PIXEL_LIMIT`` pixels take."""
CUT_OFF = ("truncated", "not processed", "cannot load this image", "unexpected end", "premature end", "decoder object")
"""How Pillow and libjpeg say, in lower case, that a file ends before its picture does."""
BITS, PHOTOMETRIC, WHITE_IS_ZERO, KINDS, SIGNED = 258, 262, 0, 339, 2
"""Tags of a TIFF that say what its numbers mean."""
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def decoded(source: Any) -> Image.Image:
    """Return a picture (a path, or encoded bytes) as RGB: upright, in 8 bits, transparency on white, first frame.

    Raises:
        UnreadableError: no such file, no picture, a damaged or truncated one, or one of more than 100 megapixels.
    """
    with _opened(source) as picture:
        return Image.fromarray(_seen(source, picture))


def pixels_of(source: Any) -> Tensor:
    """Return the pixels of ``decoded``, to the bit: (3, H, W), uint8, laid out row by row with the colours together.

    Raises:
        UnreadableError: as ``decoded``.
    """
    with _opened(source) as picture:
        return torch.from_numpy(_seen(source, picture)).permute(2, 0, 1)


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


@contextlib.contextmanager
def _opened(source: Any) -> Iterator[ImageFile.ImageFile]:
    """Give a picture whose header was read and is allowed; whatever fails while it is decoded is a reason."""
    _silence_pillow()
    try:
        with Image.open(_file(source), formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > PIXEL_LIMIT:
                raise UnreadableError(f"{width:,} x {height:,} pixels are {MORE_THAN_THE_LIMIT}")
            yield picture
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError:
        found = what_it_is(_read(source, START))
        raise UnreadableError(f"no picture in one of the formats {', '.join(FORMATS)}: the file is {found}") from None
    except Exception as error:  # decoders of damaged files fail in many ways, and each is a reason
        raise UnreadableError(_reason(error)) from error


def _silence_pillow() -> None:
    """Keep Pillow's warnings, which name no file, from the terminal: what matters of them is refused.

    Whoever leaves ``warnings.catch_warnings`` takes the filter away again, so it is looked for each time; filters that
    came and went with each picture would be unsafe in threads.
    """
    if not any(place is not None and getattr(place, "pattern", None) == PILLOW for *_, place, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=PILLOW)


def _read(source: Any, count: int) -> bytes:
    if isinstance(source, (bytes, bytearray)):
        return bytes(source[:count])
    with Path(source).open("rb") as file:
        return file.read(count)


def _file(source: Any) -> Path | io.BytesIO:
    if isinstance(source, Path):
        return _regular_file(source)
    if isinstance(source, str):  # a text is known by itself: features of a file would outlive what is in the file
        raise UnreadableError(
            "a text, not a picture; if it is the path of one: `data.input_is: path` in a recipe, a pathlib.Path from a "
            "source"
        )
    if isinstance(source, (bytes, bytearray)):
        return io.BytesIO(source)
    raise UnreadableError(f"a picture is a path or encoded bytes, not {type(source).__name__}")


def _seen(source: Any, picture: ImageFile.ImageFile) -> Values:
    """Decode; return (H, W, 3)."""
    picture.seek(0)
    if picture.format in ("JPEG", "MPO"):
        return _seen_jpeg(source, picture)
    require_palette(picture)
    bits, dark_is_high = _tiff_values(picture) if isinstance(picture, TiffImagePlugin.TiffImageFile) else (16, False)
    picture.load()
    if picture.format == "PNG":
        require_png_pixels(Path(source) if isinstance(source, str) else source, picture)
    return _upright_rgb(picture, bits, dark_is_high)


def _seen_jpeg(source: Any, picture: ImageFile.ImageFile) -> Values:
    colorspace = "CMYK" if picture.mode == "CMYK" else "RGB"
    values = decode_jpeg(_read(source, LARGEST_JPEG), picture.size, colorspace)
    if values is None:
        return _upright_rgb(picture)
    if colorspace == "CMYK":
        numpy.invert(values, out=values)  # the file has no ink as 255, Pillow as 0
    elif picture.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return values
    image = Image.fromarray(values, colorspace)
    del values  # as large as the image
    image.info = picture.info  # has the orientation
    return _upright_rgb(image)


def _upright_rgb(picture: Image.Image, bits: int = 16, dark_is_high: bool = False) -> Values:
    """Convert one band of rows after another, since copies are large."""
    ImageOps.exif_transpose(picture, in_place=True)
    width, height = picture.size
    seen = numpy.empty((height, width, 3), numpy.uint8)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        band = picture.crop((0, top, width, min(top + rows, height)))
        seen[top : top + rows] = numpy.asarray(_on_white(_eight_bits(band, bits, dark_is_high)))
    return seen


def _tiff_values(picture: TiffImagePlugin.TiffImageFile) -> tuple[int, bool]:
    """Return the bits of a value, and whether high ones are dark, before the picture is decoded.

    Raises:
        UnreadableError: parts of it are missing, or its values have a sign, which Pillow drops.
    """
    require_tiff_pixels(picture)
    bits, kinds = picture.tag_v2.get(BITS, (1,)), picture.tag_v2.get(KINDS, (1,))
    if max(bits) <= 8 and SIGNED in kinds:
        raise UnreadableError("a picture whose values have a sign has no known scale")
    return 12 if bits == (12,) else 16, picture.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO


def _eight_bits(picture: Image.Image, bits: int, dark_is_high: bool) -> Image.Image:
    """Scale what has more than 8 bits a channel; Pillow's own conversion clips it to white.

    ``bits``: those of a value, for which Pillow takes 16 where the file says 12. ``dark_is_high``: the file counts from
    white to black, which Pillow heeds for 8 bits alone.
    """
    if picture.mode in SIXTEEN_BIT or picture.mode == "I":
        values = numpy.asarray(picture).astype(numpy.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableError("an integer picture with values outside of 16 bits has no known scale")
        most = 2**bits - 1
        values = most - values if dark_is_high else values
        scaled = Image.fromarray(((values * 255 + most // 2) // most).astype(numpy.uint8), "L")
        transparent = picture.info.get("transparency")
        if isinstance(transparent, int):
            scaled.putalpha(Image.fromarray(numpy.where(values == transparent, 0, 255).astype(numpy.uint8), "L"))
        return scaled
    if picture.mode == "F":
        values = numpy.asarray(picture)
        if not numpy.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise UnreadableError("a floating-point picture with values outside of 0 to 1 has no known scale")
        values = 1 - values if dark_is_high else values
        return Image.fromarray((values * 255 + 0.5).astype(numpy.uint8), "L")
    return picture


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _reason(error: Exception) -> str:
    """Return one short line: what it means for the file, and what Pillow says of it.

    Of a failed system call only what failed: its text repeats the whole path.
    """
    if getattr(error, "strerror", None):
        return str(error.strerror)  # type: ignore[attr-defined]
    said = (str(error).splitlines() or [""])[0][:200].rstrip(".") or type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        pixels = re.search(r"\d+", said)
        return f"{int(pixels[0]):,} pixels are {MORE_THAN_THE_LIMIT}" if pixels else said
    if "MAX_TEXT" in said:
        return "a text or profile in it unpacks to more than a megabyte, as only an attack does"
    if any(words in said.lower() for words in CUT_OFF):
        return f"cut off: the file ends before the picture does ({said})"
    return f"damaged: {said}"
