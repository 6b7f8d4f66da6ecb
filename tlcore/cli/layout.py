"""Text for people: columns that fit a terminal and a pipe, and no control characters from anyone's data."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

__all__ = ["columns", "harmless", "json_line", "width"]

WIDEST = 100
NARROWEST = 60


def width() -> int:
    """Return how many characters a line may have."""
    if sys.stdout is None or not sys.stdout.isatty():
        return WIDEST
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def harmless(text: str) -> str:
    """Return a text with everything visible that would steer a terminal, such as ESC or a change of direction."""
    return "".join(
        character if character.isprintable() or character == "\n" or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )  # fmt: skip


def json_line(value: Any) -> str:
    """Return a value as JSON on one line, readable, and with what would steer a terminal as JSON escapes it."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def columns(rows: Sequence[Sequence[str]], heads: Sequence[str] = (), indent: str = "") -> str:
    """Lay rows out in columns; the last one is wrapped, and moves below the others where it has no room beside them."""
    cells = [[harmless(cell).replace("\n", " ") for cell in row] for row in ([heads] if heads else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    start = len(indent) + sum(widths) + 2 * len(widths)
    below = start > width() * 0.7
    margin = indent + "    " if below else " " * start
    lines = []
    for number, row in enumerate(cells):
        front = indent + "".join(cell.ljust(size + 2) for cell, size in zip(row, widths, strict=False))
        wrapped = textwrap.wrap(row[-1], width(), initial_indent=margin, subsequent_indent=margin) or [margin]
        if not below:
            lines += [front + wrapped[0][start:], *wrapped[1:]]
        else:
            is_head = bool(heads) and number == 0
            lines += [front] if is_head else [front, *wrapped]
    return "\n".join(line.rstrip() for line in lines if line.strip())
