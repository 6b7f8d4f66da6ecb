"""Files that end well but lack pixels: their decoders fill in black or grey without an error."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from torch import Tensor

from tlcore import UnreadableError

__all__ = ["require_png_pixels", "require_scanned_pixels"]

FILLED = 128
"""What libjpeg decodes missing blocks to."""
BLOCK = 8
LOOKED_AHEAD = 40
"""Rows at the end that a decoder may hold back although their data is there: two rows of blocks, and some."""
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
WHOLE = ((0, 0, 1, 1),)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the steps between its columns and rows."""
PIECE = 2**20


def require_scanned_pixels(encoded: bytes | bytearray, pixels: Tensor) -> None:
    """Refuse a JPEG of one scan whose data ends early although the file ends as it should.

    What is missing is grey, (128, 128, 128). Where the last block is, the file is decoded once more without its end
    mark: then a decoder waits for what it lacks and fills nothing in.

    Raises:
        UnreadableError: pixels are missing.
    """
    height, width = pixels.shape[1:]
    if height <= LOOKED_AHEAD or not bool((pixels[:, -LOOKED_AHEAD:, -BLOCK:] == FILLED).all()):
        return
    with Image.open(io.BytesIO(encoded[: encoded.rindex(b"\xff\xd9")]), formats=["JPEG"]) as picture:
        if picture.info.get("progressive"):
            return  # each of its scans covers the whole picture
        with contextlib.suppress(OSError):
            picture.load()
        last = picture.im.getpixel((width - 1, height - LOOKED_AHEAD))
    if not any(last if isinstance(last, tuple) else (last,)):
        raise UnreadableError("cut off: its data ends before the picture does, and the rest would be grey")


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
