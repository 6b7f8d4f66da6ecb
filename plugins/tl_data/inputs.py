"""From a cell to the input of an example: a text, bytes, or the path of a file that the data may name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

from tl_data import ColumnOptions
from tlcore import DataError, UnreadableError

INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Categories of characters that nobody sees: controls, marks of direction and width, and blanks."""

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
    inside = [root / written for root in roots if _below(root, root / written)]
    if not inside:
        folder = "the table's folder" if given is None else " and ".join(map(str, roots)) or "any folder known"
        raise UnreadableError(f"its path leads out of {folder}: {written}; `data.root` can name another folder")
    found = next((path for path in inside if os.path.isfile(path)), None)
    if found is None:
        raise UnreadableError(f"there is no file {written}")
    if not os.access(found, os.R_OK):
        raise UnreadableError(f"no permission to read {written}")
    return found


def _below(root: Path, path: Path) -> bool:
    """Say whether a path lies below a folder by its name: links that the folder itself holds may lead elsewhere."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root))
