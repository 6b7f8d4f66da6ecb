"""JPEGs whose coded data is damaged or ends early: libjpeg decodes them to wrong colours or to grey without an error.

It warns on the standard error of the process, where no caller hears it. What it warns of is found here by its own
decoder, which is given the data in such a way that it stops, or draws another picture, where data lacks or is left.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import math
import re
from dataclasses import dataclass, field

from PIL import Image

from tlcore import UnreadableError

__all__ = ["require_whole_scans"]

HUFFMAN, PROGRESSIVE = (0xC0, 0xC1), 0xC2
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
CODES, SCAN, END, INTERVAL = 0xC4, 0xDA, 0xD9, 0xDD
WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD9))
AFTER_DATA = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
RESTART = re.compile(rb"\xff([\xd0-\xd7])")
BLOCK = 8
COEFFICIENTS = BLOCK * BLOCK
MOST_SCANS = 100
"""Encoders write a dozen; each decodes the whole picture once more, of which a small file can make hours."""
FREQUENCIES, CODE_LENGTHS = 0x10, 16
ZEROS = bytes(64)
ONES = b"\xff\x00" * BLOCK
"""As many bits as libjpeg looks ahead: all ones, which is no code."""
SPARE = 8
"""Bytes that a picture may have after the last that it needs: some cameras append a few."""
DAMAGED = "damaged: its coded data does not end where the picture does, so colours are wrong from some place on"
CUT_OFF = "cut off: its data ends before the picture does, and the rest would be grey"


@dataclass
class _Scan:
    """Where its coded data lies, and which coefficients of which components it gives, to which bit."""

    start: int
    end: int
    components: bytes
    first: int
    last: int
    lowest_bit: int
    zeros_mean: int | None
    """What a code of zero bits alone says of the first component's frequencies; 0 ends a block."""


@dataclass
class _Parts:
    """What the markers of a JPEG say: the kind of its frame, samples of its components, restarts, scans."""

    frame: int = 0
    size: tuple[int, int] = (0, 0)
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    interval: int = 0
    shortest: dict[int, int] = field(default_factory=dict)
    scans: list[_Scan] = field(default_factory=list)
    ended: bool = True
    """Whether a marker follows the last scan."""


def require_whole_scans(encoded: bytes) -> None:
    """Refuse a JPEG in Huffman codes that has fewer or more data than its picture takes, or lacks whole scans.

    Up to ``SPARE`` bytes too many pass. What cannot be parsed is left to the decoder to refuse.

    Raises:
        UnreadableError: with what is wrong.
    """
    parts = _Parts()
    with contextlib.suppress(IndexError, ValueError):  # no end: the decoder refuses it, unless a scan is damaged too
        _parse(encoded, parts)
    if len(parts.scans) > MOST_SCANS:
        raise UnreadableError(f"{len(parts.scans)} scans in one JPEG, as only an attack has")
    if not parts.scans or not parts.sampling or parts.frame not in (*HUFFMAN, PROGRESSIVE):
        return
    _require_possible_size(encoded, parts)
    if not parts.ended:
        if encoded.endswith(ZEROS):
            raise UnreadableError("cut off: it ends in zero bytes, as a broken download leaves them")
        return  # it may be whole: that is seen when it is decoded
    if parts.frame == PROGRESSIVE:
        _require_last_bits(parts)
    if parts.frame == PROGRESSIVE or len(parts.scans) > 1:
        _require_same_with_more_data(encoded, parts.scans)
    else:
        _require_no_zeros(encoded, parts.scans[0])
        _require_restarts(encoded, parts)
        _require_exact_data(encoded, parts.scans[0])


def _parse(encoded: bytes, parts: _Parts) -> None:
    """Read the markers up to the end of the first picture.

    Raises:
        IndexError, ValueError: the file or one of its segments ends before that.
    """
    place = 2
    while (kind := encoded[place + 1]) != END:
        if encoded[place] != 0xFF or kind == 0xFF:
            place = max(encoded.find(b"\xff", place + 1), 0) or len(encoded)
            continue
        if kind in WITHOUT_LENGTH:
            place += 2
            continue
        after = place + 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")
        content = encoded[place + 4 : after]
        if kind in FRAMES and not parts.frame:
            parts.frame = kind
            parts.size = (int.from_bytes(content[3:5], "big"), int.from_bytes(content[1:3], "big"))
            triples = (content[n : n + 3] for n in range(6, len(content), 3))
            parts.sampling = {name: (factors >> 4, factors & 15) for name, factors, _ in triples}
        elif kind == INTERVAL:
            parts.interval = int.from_bytes(content, "big")
        elif kind == CODES:
            parts.shortest |= _zero_codes(content)
        elif kind == SCAN:
            found = AFTER_DATA.search(encoded, after)
            parts.ended = found is not None
            first, last, bits = content[-3:]
            zeros_mean = parts.shortest.get(FREQUENCIES | content[2] & 15)
            scan = _Scan(
                after, found.start() if found else len(encoded), content[1:-3:2], first, last, bits & 15, zeros_mean
            )
            parts.scans.append(scan)
            after = scan.end
        place = after


def _zero_codes(content: bytes) -> dict[int, int]:
    """Return what a code of zeros means in each of some Huffman tables: the first of their symbols."""
    found, place = {}, 0
    while place < len(content):
        symbols = place + 1 + CODE_LENGTHS
        found[content[place]] = content[symbols]
        place = symbols + sum(content[place + 1 : symbols])
    return found


def _require_possible_size(encoded: bytes, parts: _Parts) -> None:
    """Refuse a header that says more than the file can hold, before memory is taken for it: each block has a bit."""
    blocks = math.prod(-(-length // BLOCK) for length in parts.size)
    if blocks > 8 * len(encoded):
        raise UnreadableError(CUT_OFF)


def _require_last_bits(parts: _Parts) -> None:
    """Refuse a progressive JPEG that lacks scans of its brightness; encoders may leave out those of empty colours."""
    brightness = next(iter(parts.sampling))
    missing = set(range(COEFFICIENTS))
    for scan in parts.scans:
        if brightness in scan.components and scan.lowest_bit == 0:
            missing -= set(range(scan.first, scan.last + 1))
    if missing:
        raise UnreadableError("cut off: the last scans of the progressive JPEG are missing, and it is blurred")


def _require_same_with_more_data(encoded: bytes, scans: list[_Scan]) -> None:
    """Decode it as it is and with bytes appended to each scan, which none reads that has what it needs."""
    places = [0, *(scan.end for scan in scans), len(encoded)]
    pieces = [encoded[start:end] for start, end in itertools.pairwise(places)]
    try:
        if _drawn(encoded) != _drawn((8 * ONES).join(pieces)):
            raise UnreadableError(CUT_OFF)
    except OSError:
        return  # the decoder says why


def _require_no_zeros(encoded: bytes, scan: _Scan) -> None:
    """Refuse a run of zeros where they would mean hundreds of equal frequencies, as no encoder writes."""
    if scan.zeros_mean and encoded.find(ZEROS, scan.start, scan.end) >= 0:
        raise UnreadableError("damaged: zero bytes in the middle of its data, as a broken disk or download leaves them")


def _require_restarts(encoded: bytes, parts: _Parts) -> None:
    scan, units = parts.scans[0], 1
    across, down = (max((factors[axis] for factors in parts.sampling.values()), default=1) for axis in (0, 1))
    if len(scan.components) == 1:
        across = down = 1
    for length, step in zip(parts.size, (across, down), strict=True):
        units *= -(-length // (BLOCK * step)) if step else 0
    found = [mark[1][0] & 7 for mark in RESTART.finditer(encoded, scan.start, scan.end)]
    wanted = (units - 1) // parts.interval if parts.interval else 0
    if found != [number % 8 for number in range(wanted)]:
        raise UnreadableError(f"damaged: {len(found)} restart markers in its data where {wanted} in order are needed")


def _require_exact_data(encoded: bytes, scan: _Scan) -> None:
    data = encoded[: scan.end]
    file = _InTwoPieces(data + ONES, max(scan.start, len(data.rstrip(b"\0\xff")) - SPARE))
    with _brightness(file) as picture:
        picture.draft("L", (1, 1))
        try:
            picture.load()
        except OSError as error:
            raise UnreadableError(CUT_OFF) from error
    if not file.second_read:
        raise UnreadableError(DAMAGED)


class _InTwoPieces(io.BytesIO):
    """A file that ends its first piece at an edge, so that it is known whether a decoder needs what comes after."""

    def __init__(self, content: bytes, edge: int) -> None:
        super().__init__(content)
        self._edge = edge
        self.second_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._edge - self.tell()
        if left > 0:
            return super().read(left if size is None or size < 0 else min(size, left))
        self.second_read = True
        return super().read(size)


def _drawn(encoded: bytes) -> bytes:
    """Return a digest of the brightness, since two pictures at once would take much memory."""
    with _brightness(io.BytesIO(encoded)) as picture:
        picture.load()
        return hashlib.sha256(picture.tobytes()).digest()


def _brightness(file: io.BytesIO) -> Image.Image:
    picture = Image.open(file, formats=["JPEG"])
    picture.draft("L", picture.size)
    return picture
