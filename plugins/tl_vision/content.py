"""What a file that is no picture is instead, by its first bytes: so that whoever finds it knows where to look."""

from __future__ import annotations

__all__ = ["START", "what_it_is"]

START = 4096
"""So many first bytes are looked at."""

PICTURES = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS in place of the file (fetch it: git lfs pull)",
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"PK\x03\x04": "a zip archive or an office document",
    b"\x1f\x8b": "compressed by gzip",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"8BPS": "a Photoshop file",
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\0\0\1\0": "an icon (ICO)",
    b"\0\0\2\0": "a mouse pointer (CUR)",
    b"\xd0\xcf\x11\xe0": "an old office document or Thumbs.db",
    b"\0\x05\x16\x07": "what macOS keeps beside a file on foreign disks",
    b"RIFF": "a RIFF file such as audio or video",
    b"OggS": "audio or video",
    b"ID3": "audio",
    b"\x1aE\xdf\xa3": "a video",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"SQLite format 3": "a database",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"SIMPLE  =": "a FITS picture",
}
NETPBM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7", b"Pf", b"PF")
BRANDS = {b"avi": "an AVIF picture", b"hei": "a HEIC picture", b"hev": "a HEIC picture", b"mif": "a HEIC picture"}
"""How the kind of an ISO media file begins."""


def what_it_is(start: bytes) -> str:
    """Return what a file is whose first ``START`` bytes these are, in words that end "the file is …"."""
    if not start:
        return "empty (0 bytes)"
    if not start.strip(b"\0"):
        return "made of zero bytes only, as a broken download or copy leaves it"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return _damaged("WEBP")
    for marks, words in ((PICTURES, _damaged), (OTHERS, str)):
        if mark := next((mark for mark in marks if start.startswith(mark)), None):
            return words(marks[mark])
    if start[4:8] == b"ftyp":
        return BRANDS.get(start[8:11], "a video or another ISO media file")
    if start[:2] in NETPBM and start[2:3].isspace():
        return "a Netpbm picture (PPM, PGM or PBM)"
    return _text(start) or "of an unknown kind"


def _damaged(kind: str) -> str:
    return f"a {kind} by its first bytes, but its header is damaged or cut off"


def _text(start: bytes) -> str | None:
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if words.startswith((b"<!doctype html", b"<html")) or b"<html" in words[:500]:
        return "a web page (HTML), perhaps the error message of a failed download"
    if words.startswith(b"<svg") or (words.startswith((b"<?xml", b"<!")) and b"<svg" in words):
        return "an SVG drawing, which has no pixels"
    if words.startswith((b"<?xml", b"<error")):
        return "XML, perhaps the error message of a failed download"
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if error.start < len(start) - 3:  # no letter that is cut at the end
            return None
        text = start[: error.start].decode()
    return "text" if all(letter.isprintable() or letter.isspace() for letter in text) else None
