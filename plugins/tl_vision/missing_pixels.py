"""Pictures that end well but lack pixels or colours: their decoders fill in black without an error."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile, TiffImagePlugin

from tlcore import UnreadableError

__all__ = ["require_palette", "require_png_pixels", "require_tiff_pixels"]

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the steps between its columns and rows."""
PIECE = 2**20
SAMPLES, PLANES, APART = 277, 284, 2
"""Tags of a TIFF: how many values a pixel has, and whether each of them lies apart."""


def require_palette(picture: ImageFile.ImageFile) -> None:
    """Refuse a PNG, not yet decoded, whose colours are numbers of a palette that is not there.

    Raises:
        UnreadableError: there is none.
    """
    if picture.format == "PNG" and picture.mode == "P" and picture.palette is None:
        raise UnreadableError("damaged: its colours are in a palette that is missing")


def require_tiff_pixels(picture: TiffImagePlugin.TiffImageFile) -> None:
    """Refuse a TIFF, not yet decoded, whose strips or tiles do not cover it.

    Raises:
        UnreadableError: pixels are missing.
    """
    width, height = picture.size
    planes = picture.tag_v2.get(SAMPLES, 1) if picture.tag_v2.get(PLANES) == APART else 1
    if any(tile.codec_name != "raw" for tile in picture.tile):
        return  # libtiff sees to it
    areas = (_area(tile.extents or (0, 0, 0, 0)) for tile in picture.tile)
    if sum(areas) < width * height * planes:
        raise UnreadableError("cut off: strips or tiles of it are missing, and would be black")


def require_png_pixels(source: Path | bytes | bytearray, picture: Image.Image) -> None:
    """Refuse a decoded PNG that holds fewer pixels than its header says; only one that ends in zeros is looked at.

    Raises:
        UnreadableError: pixels are missing.
    """
    width, height = picture.size
    last = [picture.crop((0, row, width, row + 1)).tobytes() for row in range(max(height - 2, 0), height)]
    if all(any(row) for row in last):
        return
    with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
        chunks = _chunks(file)
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", next(chunks)[1])
        bits = depth * CHANNELS[colour]
        wanted = sum(
            rows * (1 + (columns * bits + 7) // 8)
            for x, y, across, down in (ADAM7 if interlaced else WHOLE)
            if (columns := -((x - width) // across)) > 0 and (rows := -((y - height) // down)) > 0
        )
        if _inflated(chunks, wanted) < wanted:
            raise UnreadableError("cut off: it holds fewer pixels than its header says, and the rest would be black")


def _area(extents: tuple[int, int, int, int]) -> int:
    left, top, right, low = extents
    return max(0, right - left) * max(0, low - top)


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    file.seek(8)
    while len(head := file.read(8)) == 8:
        yield head[4:], file.read(int.from_bytes(head[:4], "big"))
        file.seek(4, io.SEEK_CUR)


def _inflated(chunks: Iterator[tuple[bytes, bytes]], enough: int) -> int:
    """Return how many bytes the pixels unpack to, or ``enough``."""
    unpacking, count = zlib.decompressobj(), 0
    for kind, waiting in chunks:
        while kind == b"IDAT" and waiting and not unpacking.eof and count < enough:
            count += len(unpacking.decompress(waiting, PIECE))
            waiting = unpacking.unconsumed_tail
    return count + len(unpacking.flush())
