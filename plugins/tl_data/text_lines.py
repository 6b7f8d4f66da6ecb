"""From the bytes of a file to lines of text: never by a guess, and never with a replaced character."""

from __future__ import annotations

import codecs
import re
from collections.abc import Generator
from pathlib import Path

from tlcore import DataError, UsageError

__all__ = ["MARKS", "encoding_of", "lines_of"]

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LINE_END = re.compile(r"\r\n?|\n")


def encoding_of(path: Path, start: bytes, given: str | None) -> str:
    """Return the encoding to read a file with, from its first bytes where none is given: UTF-8 unless marked.

    Raises:
        DataError: it looks like UTF-16 that does not say so.
        UsageError: there is no such encoding.
    """
    if given is None:
        marked = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
        if marked is None and b"\0" in start[:2]:
            meant = "utf-16-be" if start.startswith(b"\0") else "utf-16-le"
            raise DataError(
                f"{path.name} looks like UTF-16 without a byte order mark",
                where=str(path),
                hint=f"if it is, write `encoding: {meant}`",
            )
        return marked or "utf-8-sig"
    try:
        name = codecs.lookup(given).name
        "".encode(name)  # some codecs are for bytes only, such as zip
    except LookupError:
        raise UsageError(
            f"there is no encoding {given!r}", where="data.encoding", hint="usual: utf-8, latin-1, cp1252, utf-16"
        ) from None
    return "utf-8-sig" if name == "utf-8" else name


def lines_of(path: Path, encoding: str) -> Generator[str]:
    """Yield the lines with their ends, which may be those of Unix, Windows or the old Mac.

    Raises:
        DataError: bytes that are not in the encoding, with their line.
    """
    try:
        with path.open(encoding=encoding, newline="") as file:
            yield from file
    except UnicodeError:
        raise _undecodable(path, encoding) from None


def _undecodable(path: Path, encoding: str) -> DataError:
    raw = path.read_bytes()
    where, reason = str(path), ""
    try:
        raw.decode(encoding)
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(encoding, "ignore")
        line = len(LINE_END.findall(before)) + 1
        where, reason = f"{path}:{line}", f": byte 0x{raw[error.start]:02x} in line {line}"
    if encoding == "utf-8-sig":
        count = sum(not _is_utf8(line) for line in raw.splitlines())
        reason += f", {count} such lines in all" if count > 1 else ", the only such line"
    name = encoding.removesuffix("-sig").upper()
    return DataError(
        f"{path.name} is not {name}{reason}",
        where=where,
        hint="save it as UTF-8, or name the encoding that it was written in, such as `--set data.encoding=latin-1` "
        "(`tl predict`: `--encoding latin-1`)",
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
