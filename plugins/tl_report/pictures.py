"""Previews as pictures inside the page, none heavier than the page can bear."""

from __future__ import annotations

import base64
import io
import struct
import zlib

from PIL import Image

__all__ = ["data_uri"]

PNG_START = b"\x89PNG\r\n\x1a\n"
LARGEST_SIDE = 320
"""Pixels of the longer side of a picture that had to be made smaller."""
WHAT_A_BROKEN_PICTURE_RAISES = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)


def data_uri(png: bytes, most_bytes: int) -> str | None:
    """Return a PNG as an address that holds the picture itself, made smaller where it weighs more than it may.

    None stands for what is no PNG, or cannot be made small enough.
    """
    if not png.startswith(PNG_START):
        return None
    kind = "png"
    if len(png) > most_bytes:
        try:
            png, kind = _smaller(png), "jpeg"
        except (*WHAT_A_BROKEN_PICTURE_RAISES, Image.DecompressionBombError):
            return None
    if len(png) > most_bytes:
        return None
    return f"data:image/{kind};base64,{base64.b64encode(png).decode('ascii')}"


def _smaller(png: bytes) -> bytes:
    raw = io.BytesIO()
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        small = picture.convert("RGBA")
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    paper = Image.new("RGB", small.size, "white")
    paper.paste(small, mask=small.getchannel("A"))
    paper.save(raw, "JPEG", quality=85)
    return raw.getvalue()
