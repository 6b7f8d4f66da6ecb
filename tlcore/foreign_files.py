"""Small files that may come from anyone: read whole and within bounds, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tlcore.errors import WeightsError

__all__ = ["once", "read_object", "read_text"]

MOST_BYTES = 16 * 2**20
"""What describes a network is far smaller; the index of a thousand shards is, too."""


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


def read_object(path: Path, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the JSON object in a file; see ``read_text`` for what else is refused.

    Raises:
        WeightsError: no JSON, nested without end, a key given twice, or no object.
    """
    text = read_text(path, most_bytes)
    try:
        found = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name} cannot be read: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{path.name} cannot be read: it is no JSON object", where=str(path))
    return found


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict, for ``json.loads``; a name that stands twice is a ValueError.

    Two programs that read such a file may take different ones of its values.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found
