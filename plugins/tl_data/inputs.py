"""From a cell to the input of an example: a text, bytes, or the path of a file that the data may name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

from tl_data import ColumnOptions
from tlcore import DataError, UnreadableError

INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Categories of characters that nobody sees: controls, marks of direction and width, and blanks."""

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
SHOWN_LETTERS = 200

__all__ = ["FileCell", "Part", "input_of"]


@dataclass(frozen=True)
class FileCell:
    """A file that a data set names in place of its bytes."""

    path: str


@dataclass(frozen=True)
class Part:
    """Rows that lie together, and the split that all of them belong to where the file's name says it.

    Files that the rows name must lie below one of ``roots``, by default the file's folder; ``fetched`` reads those that
    lie elsewhere, by their addresses.
    """

    path: Path
    split: str | None = None
    roots: tuple[Path, ...] | None = None
    fetched: Callable[[str], bytes] | None = None


def input_of(cell: Any, column: str, part: Part, options: ColumnOptions, place: str) -> str | Path | bytes:
    """Return the input that a cell holds.

    Raises:
        UnreadableError: an empty cell, or a file that is absent or may not be read.
        DataError: a cell that holds a list or an object.
    """
    if cell is None or not cell:
        raise UnreadableError(f"the input is {'missing' if cell is None else 'empty'}")
    if isinstance(cell, str) and all(category(letter) in INVISIBLE for letter in cell):
        raise UnreadableError("the input is empty" + (": it holds invisible characters only" if cell.strip() else ""))
    if isinstance(cell, FileCell):
        if "://" in cell.path and part.fetched is not None:
            return part.fetched(cell.path)
        return _file(cell.path, part, options)
    if isinstance(cell, str):
        return _file(cell.strip(), part, options) if options.input_is == "path" else cell
    if isinstance(cell, bytes):
        return cell
    raise DataError(
        f"column {column!r} holds {'a list' if isinstance(cell, list) else 'a nested object'}, not a text",
        where=f"{place} in {part.path}: data.input",
        hint="flatten it: one text, number or truth value in each cell",
    )


def _file(written: str, part: Part, options: ColumnOptions) -> Path:
    """Return the path of a file that the data names, below one of the folders that it may name files in.

    Raises:
        UnreadableError: it leads elsewhere, or there is no such file.
    """
    given = (options.root,) if options.root is not None else part.roots
    roots = (part.path.parent,) if given is None else given
    shown = written if len(written) <= SHOWN_LETTERS else f"{written[:SHOWN_LETTERS]}…"
    if ADDRESS.match(written):
        raise UnreadableError(f"it is an address, not the path of a file: {shown}; fetch the files first")
    inside = [root / written for root in roots if _below(root, root / written)]
    found = next((path for path in inside if os.path.isfile(path)), None)
    if not inside or (found is not None and part.roots is None and not _really_below(roots, found)):
        folder = "the table's folder" if given is None else " and ".join(map(str, roots)) or "any folder known"
        what = "it is a link that leads" if inside else "its path leads"
        raise UnreadableError(f"{what} out of {folder}: {shown}; `data.root` can name another folder")
    if found is None:
        if any(os.path.exists(path) for path in inside):
            raise UnreadableError(f"not a regular file: {shown}")
        slashed = written.replace("\\", "/")
        windows = slashed != written and any(_below(r, r / slashed) and os.path.isfile(r / slashed) for r in roots)
        raise UnreadableError(f"there is no file {shown}" + ("; write / in place of \\" if windows else ""))
    if not os.access(found, os.R_OK):
        raise UnreadableError(f"no permission to read {shown}")
    return found


def _below(root: Path, path: Path) -> bool:
    """Say whether a path lies below a folder by its name."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))


def _really_below(roots: tuple[Path, ...], path: Path) -> bool:
    """Say whether a path lies below one of some folders when links are followed.

    A table that came from elsewhere may have come with links; the caches of data sets are made of them, and trusted.
    """
    real = os.path.realpath(path)
    return any(Path(real).is_relative_to(os.path.realpath(root)) for root in roots)
