"""What a row's label is: one name, several, or a number; and the names that a file gives to classes."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_data import LabelOptions
from tl_data.columns import Columns
from tl_data.paths import absent
from tlcore import DataError, nearest

__all__ = ["ClassNames", "alike", "label_of"]

SET, UNSET = ("1", "true", "yes", "x"), ("0", "false", "no", "")


class ClassNames:
    """The names of the classes by their labels, as a file gives them; without a file labels are names already.

    Raises:
        DataError: the file is absent, or is no list or mapping of names.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._names = _read(path) if path is not None else {}

    def __call__(self, label: str, place: str) -> str:
        """Return the name of a label that stands at a place.

        Raises:
            DataError: the file has no name for it.
        """
        if self._path is None:
            return label
        if label not in self._names:
            meant = nearest(label, self._names)
            raise DataError(
                f"{self._path.name} has no name for the label {label!r}",
                where=f"{place}; the file names {', '.join(list(self._names)[:12])}",
                hint=f"did you mean {meant!r}?" if meant else "add it to the file, or leave data.classes out",
            )
        return self._names[label]


def label_of(
    cells: Mapping[str, Any], columns: Columns, options: LabelOptions, names: ClassNames, place: str
) -> str | tuple[str, ...] | None:
    """Return the label of a row: a text, or a tuple of texts where an example may have several; None if it is missing.

    Raises:
        DataError: a cell that can be no label, or that is neither set nor unset.
    """
    if columns.labels:
        found = {
            name
            for name, column in zip(options.labels, columns.labels, strict=True)
            if _is_set(cells.get(column), column, place)
        }
        return tuple(sorted(names(name, place) for name in found))
    cell = cells.get(columns.label) if columns.label is not None else None
    if cell is None:
        return None
    several = cell if isinstance(cell, list) else None
    if several is None and isinstance(cell, str) and options.label_separator is not None:
        several = cell.split(options.label_separator)
    for one in [cell] if several is None else several:
        if not isinstance(one, (str, int, float, type(None))):
            raise DataError(
                f"column {columns.label!r} holds {_kind(one)}, not a label",
                where=f"{place}: data.label",
                hint="flatten it: one text, number or truth value in each cell",
            )
    if several is None:
        return names(cell.strip(), place) if cell.strip() else None
    parts = {str(one).strip() for one in several if one is not None} - {""}
    return tuple(sorted({names(part, place) for part in parts}))


def alike(labels: Iterable[str]) -> Iterator[str]:
    """Yield what should be said of different labels that differ only in case, or look the same."""
    by_letters: dict[str, list[str]] = defaultdict(list)
    by_look: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        by_letters[label.casefold()].append(label)
        by_look[_look(label)].append(label)
    for found in by_letters.values():
        if len(found) > 1:
            yield f"labels that differ only in case are different classes: {' and '.join(map(repr, found))}"
    for found in by_look.values():
        if len({label.casefold() for label in found}) > 1:
            yield f"labels that look the same are different classes: {' and '.join(map(ascii, found))}"


def _look(label: str) -> str:
    """Return what a person sees of a label: one form of each letter, nothing invisible, no quotation marks."""
    letters = unicodedata.normalize("NFKC", label).casefold()
    seen = "".join(letter for letter in letters if unicodedata.category(letter) not in ("Cc", "Cf"))
    return " ".join(seen.strip("\"'").split()) or label


def _kind(cell: Any) -> str:
    if isinstance(cell, bytes):
        return "bytes"
    return "a list in a list" if isinstance(cell, list) else "a nested object"


def _is_set(cell: Any, column: str, place: str) -> bool:
    written = "" if cell is None else str(cell).strip().casefold()
    if written.removesuffix(".0") in SET:
        return True
    if written.removesuffix(".0") in UNSET:
        return False
    raise DataError(
        f"column {column!r} holds {cell!r}, which is neither set nor unset",
        where=f"{place}: data.labels",
        hint=f"write one of {', '.join(SET)} where the label holds, one of 0, false, no or nothing where it does not",
    )


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise absent(path)
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".json":
            found = json.loads(text)
        elif path.suffix.lower() in (".csv", ".tsv"):
            rows = csv.reader(text.splitlines(), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            found = {label.strip(): name.strip() for label, name in rows}
        else:
            found = [line.strip() for line in text.splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path.name} gives no names of classes: {error}",
            where=str(path),
            hint="write one name a line, or a .csv or .json that maps each label to its name",
        ) from error
    if isinstance(found, Sequence) and not isinstance(found, str):
        found = {str(number): name for number, name in enumerate(found)}
    if not isinstance(found, dict) or not found or not all(isinstance(name, str) and name for name in found.values()):
        raise DataError(f"{path.name} gives no names of classes", where=str(path), hint="write one name a line")
    return found
