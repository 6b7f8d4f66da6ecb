"""Small files that may come from anyone: read whole and within bounds, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tlcore.errors import WeightsError

__all__ = ["once", "read_object", "read_records", "read_text"]

MOST_BYTES = 16 * 2**20
"""What describes a network is far smaller; the index of a thousand shards is, too."""
MOST_OF_RECORDS = 256 * 2**20
MOST_DIGITS = 100
DEEPEST = 64
"""Levels of a JSON value: a parser takes more than what handles the value later can."""


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Return the UTF-8 text of a regular file.

    Raises:
        WeightsError: no such file, a pipe or a device, more than ``most_bytes``, or no UTF-8.
    """
    try:
        if not path.is_file():
            raise WeightsError(f"there is no readable {path.name}", where=str(path))
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise WeightsError(f"refused: {path.name} is larger than {most_bytes // 2**20} MB", where=str(path))
        return content.decode("utf-8")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path.name} cannot be read: {error}", where=str(path)) from error


def read_records(path: Path, count: int | None = None) -> list[dict[str, Any]]:
    """Return the JSON objects in the lines of a file, or in the first ``count`` of them.

    Raises:
        WeightsError: as ``read_text`` does, or a line that is none.
    """
    return [_object(line, path) for line in read_text(path, MOST_OF_RECORDS).splitlines()[:count]]


def read_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the JSON object in a file; see ``read_text`` for what else is refused.

    Raises:
        WeightsError: no JSON, nested without end, a key given twice, or no object.
    """
    return _object(read_text(path, most_bytes), path)


def _object(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=once, parse_int=_whole)
        _require_shallow(found)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} cannot be read: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path.name} cannot be read: it is no JSON object", where=str(path))
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict, for ``json.loads``; a name that stands twice is a ValueError.

    Two programs that read such a file may take different ones of its values.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)[:60]!r} stands twice")
    return found
