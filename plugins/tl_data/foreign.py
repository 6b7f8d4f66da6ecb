"""What a file that is no table is instead, by its first bytes, and what to do with it."""

from __future__ import annotations

import json
from pathlib import Path

from tlcore import DataError

__all__ = ["START", "UNPACKING", "refuse_foreign", "unknown_suffix"]

START = 4096
"""So many first bytes are looked at."""

AS_CSV = "save the sheet as CSV (UTF-8)"
FETCH = "fetch the file again, and look at it before you do"
MARKS = {
    b"PAR1": ("a Parquet file", "rename it to .parquet"),
    b"PK\x03\x04": ("a zip archive or an Excel workbook", f"unpack it, or {AS_CSV}"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", AS_CSV),
    b"\x1f\x8b": ("compressed by gzip", "unpack it: gunzip"),
    b"BZh": ("compressed by bzip2", "unpack it: bunzip2"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it: unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it: unzstd"),
    b"version https://git-lfs": ("a pointer of Git LFS in place of the file", "fetch it: git lfs pull"),
    b"%PDF": ("a PDF", "give a table"),
    b"\x89PNG": ("a PNG picture", "for class folders of pictures write `source: folder`"),
    b"\xff\xd8\xff": ("a JPEG picture", "for class folders of pictures write `source: folder`"),
    b"ARROW1": ("an Arrow file", "for what the library datasets saved write `source: dataset`"),
    b"SQLite format 3": ("a database", "export its table as CSV (UTF-8)"),
}
SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
UNPACKING = {
    ".gz": "gunzip",
    ".bz2": "bunzip2",
    ".xz": "unxz",
    ".zst": "unzstd",
    ".zip": "unzip",
    ".tar": "tar -xf",
    ".tgz": "tar -xf",
}


def unknown_suffix(path: Path, known: tuple[str, ...]) -> DataError:
    """Return the refusal of a file by its suffix."""
    suffix = path.suffix.lower()
    remedy = AS_CSV if suffix in SHEETS else f"unpack it: {UNPACKING[suffix]}" if suffix in UNPACKING else ""
    return DataError(
        f"{path.name} is no table that can be read",
        where=str(path),
        hint=f"{remedy}; known: {', '.join(known)}".removeprefix("; "),
    )


def refuse_foreign(path: Path, start: bytes, *, delimited: bool) -> None:
    """Refuse a text table that is something else by its content; ``delimited``: JSON is something else as well.

    Raises:
        DataError: the message says what it is, and what to do.
    """
    found = next((what for mark, what in MARKS.items() if start.startswith(mark)), None) or _text(start, delimited)
    if found:
        what, remedy = found
        raise DataError(f"{path.name} is {what} by its content", where=str(path), hint=remedy)
    if start and not start.strip(b"\0"):
        raise DataError(f"{path.name} begins with {len(start):,} zero bytes", where=str(path), hint=FETCH)


def _text(start: bytes, delimited: bool) -> tuple[str, str] | None:
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if words[:20].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML), perhaps the error message of a failed download,", FETCH
    if words.startswith(b"<?xml"):
        return "XML", "give a table, such as a .csv or .jsonl file"
    first = words.partition(b"\n")[0].strip()
    if delimited and (first == b"[" or (first[:1] in (b"{", b"[") and _is_json(first))):
        return "JSON", "rename it to .jsonl"
    return None


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), (dict, list))
    except (ValueError, RecursionError):
        return False
