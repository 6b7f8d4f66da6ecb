"""Decode JPEGs and refuse damaged ones, which libjpeg decodes to wrong colors or to gray with only a warning.

``simplejpeg`` raises the first warning of libjpeg-turbo and drops the others. Harmless parameters that cause a warning
are therefore corrected before decoding. Damage that causes none is checked here.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy
import simplejpeg

from tlcore import UnreadableError

__all__ = ["decode_jpeg"]

START, END = b"\xff\xd8", b"\xff\xd9"
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""The start of a segment, or the end of the image."""
HUFFMAN_TABLES, SCAN, JFIF = 0xC4, 0xDA, 0xE0
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SEQUENTIAL, PROGRESSIVE, ARITHMETIC = (0xC0, 0xC1), (0xC2, 0xCA), range(0xC9, 0xD0)
JFIF_VERSION = re.compile(rb"(?<=^.{4}JFIF\0).", re.DOTALL)
BLOCK = 8
COEFFICIENTS = BLOCK * BLOCK
ALL_COEFFICIENTS = bytes((0, COEFFICIENTS - 1, 0))
MOST_SCANS = 100
"""Encoders write a dozen. Each one decodes the whole image again, so a small file could take hours."""
AC_TABLE, CODE_LENGTHS, END_OF_BLOCK = 0x10, 16, b"\0"
ZEROS = bytes(64)
SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MOST_SURPLUS = 8
"""Bytes after the data, not counting padding. Some cameras write a few; damaged data leaves more."""
UNKNOWN_SUBSAMPLING = "Could not determine subsampling"
Values: TypeAlias = "numpy.ndarray[Any, numpy.dtype[numpy.uint8]]"


class _Segment(NamedTuple):
    kind: int
    head: bytes
    """The marker, the length and the parameters."""
    data: bytes
    """The entropy-coded data after the parameters of a scan."""


def decode_jpeg(encoded: bytes, size: tuple[int, int], colorspace: str) -> Values | None:
    """Decode the first image of a file.

    ``size``: width and height that were checked against the pixel limit. ``colorspace``: RGB or CMYK. Returns an array
    (H, W, 3 or 4), or None if ``simplejpeg`` does not support the chroma subsampling.

    Raises:
        UnreadableError: the image is damaged, or would take far more time or memory than its data justifies.
        ValueError: the image is damaged; the text is libjpeg-turbo's.
    """
    segments = list(_segments(encoded))
    frame = next((segment for segment in segments if segment.kind in FRAMES), None)
    if frame is None:
        raise UnreadableError("damaged: it has no frame header")
    scans = [segment for segment in segments if segment.kind == SCAN]
    _require_plausible_cost(frame, scans, size)
    stream = START + b"".join(_corrected(segment, frame.kind) for segment in segments)
    values = _strictly_decoded(stream, colorspace, scans)
    if frame.kind in PROGRESSIVE:
        _require_all_coefficients(frame.head[10], scans)
    elif frame.kind in SEQUENTIAL:
        _require_no_zeros(segments)
    return values


def _segments(encoded: bytes) -> Iterator[_Segment]:
    """Yield the segments of the first image, or of what there is of it; bytes between segments are skipped."""
    marker = MARKER.search(encoded, len(START))
    while marker and marker[0] != END:
        place, kind = marker.end(), marker[0][1]
        after = place + int.from_bytes(encoded[place : place + 2], "big")
        following = MARKER.search(encoded, after)
        data = encoded[after : following.start() if following else None] if kind == SCAN else b""
        yield _Segment(kind, encoded[marker.start() : after], data)
        marker = following
    if marker:
        yield _Segment(END[1], END, b"")


def _require_plausible_cost(frame: _Segment, scans: Sequence[_Segment], size: tuple[int, int]) -> None:
    """Refuse more scans than encoders write, and a header that claims more blocks than the data has bits."""
    if len(scans) > MOST_SCANS:
        raise UnreadableError(f"{len(scans)} scans in one JPEG, as only an attack has")
    width, height = size
    if frame.head[5:9] != struct.pack(">HH", height, width):
        raise UnreadableError("damaged: its headers claim different sizes")
    blocks = -(-width // BLOCK) * -(-height // BLOCK)
    if frame.kind not in ARITHMETIC and blocks > 8 * sum(len(scan.data) for scan in scans):
        raise UnreadableError("cut off: its data ends before the image does, and the rest would be gray")


def _corrected(segment: _Segment, frame: int) -> bytes:
    """Return the bytes of a segment; parameters that libjpeg ignores with a warning become what it expects."""
    kind, head, data = segment
    if kind == JFIF:
        head = JFIF_VERSION.sub(b"\1", head)
    elif kind == SCAN and frame in SEQUENTIAL:
        head = head[:-3] + ALL_COEFFICIENTS
    return head + data


def _strictly_decoded(stream: bytes, colorspace: str, scans: Sequence[_Segment]) -> Values | None:
    try:
        return simplejpeg.decode_jpeg(stream, colorspace)
    except ValueError as error:
        if UNKNOWN_SUBSAMPLING in str(error):
            return None
        surplus = SURPLUS.search(str(error))
        if not surplus or int(surplus[1]) > MOST_SURPLUS + _padding(scans[-1].data):
            raise
    # The end marker is read last, so no warning about the data itself is hidden.
    return simplejpeg.decode_jpeg(stream, colorspace, strict=False)


def _padding(data: bytes) -> int:
    return len(data) - len(data.rstrip(b"\0\xff"))


def _require_all_coefficients(luma: int, scans: Sequence[_Segment]) -> None:
    """Refuse a progressive JPEG without its last luma scans; encoders may omit those of empty chroma."""
    missing = set(range(COEFFICIENTS))
    for scan in scans:
        first, last, bits = scan.head[-3:]
        if luma in scan.head[5:-3:2] and bits & 15 == 0:
            missing -= set(range(first, last + 1))
    if missing:
        raise UnreadableError("cut off: the last scans of the progressive JPEG are missing, and it is blurred")


def _require_no_zeros(segments: Sequence[_Segment]) -> None:
    """Refuse a run of zero bytes, unless zero bits mean empty blocks: no encoder writes so many equal coefficients."""
    first_symbols: dict[int, bytes] = {}
    for kind, head, data in segments:
        if kind == HUFFMAN_TABLES:
            first_symbols |= _first_symbols(head[4:])
        elif ZEROS in data and first_symbols.get(AC_TABLE | head[6] & 15, END_OF_BLOCK) != END_OF_BLOCK:
            raise UnreadableError("damaged: zero bytes in the middle of its data, as left by a broken disk or download")


def _first_symbols(tables: bytes) -> dict[int, bytes]:
    """Return the first symbol of each Huffman table: the one whose code is all zero bits."""
    first_symbols, place = {}, 0
    while place < len(tables):
        symbols = place + 1 + CODE_LENGTHS
        first_symbols[tables[place]] = tables[symbols : symbols + 1]
        place = symbols + sum(tables[place + 1 : symbols])
    return first_symbols
