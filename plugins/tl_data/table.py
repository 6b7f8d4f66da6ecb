"""Tables: one example in each row."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tl_data import ColumnOptions, FileOptions, TableOptions
from tl_data.columns import Columns, find_columns
from tl_data.labels import ClassNames, label_of
from tl_data.paths import absent, printable
from tl_data.rows import SUFFIXES, Row, Sheet, read_sheet
from tlcore import DataError, DataSource, Example, Problem, UsageError, nearest
from tlcore.data.splitting import SPLIT_NAMES

__all__ = ["Part", "TableSource", "examples_of", "limited", "read_parts"]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ID_DIGITS = 16


@dataclass(frozen=True)
class Part:
    """A file of rows, and the split that all of them belong to where the file's name says it."""

    path: Path
    split: str | None = None


class TableSource(DataSource):
    """The rows of one table file, or of a folder with one file for each split."""

    def __init__(self, options: TableOptions) -> None:
        self.options = options

    def examples(self) -> Iterator[Example | Problem]:
        """Yield each row, in the order of the file; a row that cannot be used is a problem with its place.

        Raises:
            DataError: no such file, another format or encoding, a missing column, no usable row.
            UsageError: options that do not fit each other.
        """
        path = self.options.path
        if not path.exists():
            raise absent(path)
        if not path.is_dir():
            return examples_of(read_parts([Part(path)], self.options), self.options)
        if self.options.split is not None:
            raise UsageError(
                f"{path} is a folder whose file names say the split, and data.split names a column",
                hint="give one table file, or leave data.split out",
            )
        return examples_of(read_parts(_parts_of_folder(path), self.options), self.options)


def _parts_of_folder(folder: Path) -> list[Part]:
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    parts = [Part(path, SPLIT_NAMES[path.stem.casefold()]) for path in tables if path.stem.casefold() in SPLIT_NAMES]
    splits = Counter(part.split for part in parts)
    if not splits["train"]:
        listed = ", ".join(printable(path.name) for path in tables) or "none"
        raise DataError(
            f"the folder {folder} holds no train.csv (nor .tsv, .jsonl, .json, .parquet)",
            where=f"tables found: {listed}",
            hint=f"give one of them: `data.path: {tables[0]}`" if tables else "give a table file",
        )
    twice = next((split for split, count in splits.items() if count > 1), None)
    if twice:
        names = " and ".join(part.path.name for part in parts if part.split == twice)
        raise DataError(f"{names} in {folder} are both the {twice} split", hint="leave one of them there")
    return parts


@dataclass(frozen=True)
class _Draft:
    """A row that can be used, before it has an id."""

    row: Row
    columns: Columns
    part: Part
    input: str | Path | bytes
    label: Any


def read_parts(parts: Sequence[Part], options: FileOptions) -> Iterator[tuple[Part, Sheet]]:
    """Yield the rows of each file, as ``examples_of`` takes them."""
    for part in parts:
        yield (
            part,
            read_sheet(part.path, delimiter=options.delimiter, encoding=options.encoding, quotes=options.quotes),
        )


def examples_of(sheets: Iterable[tuple[Part, Sheet]], options: ColumnOptions) -> Iterator[Example | Problem]:
    """Yield the rows of one data set; see ``TableSource.examples``."""
    drafts: list[_Draft] = []
    problems: list[Problem] = []
    names = ClassNames(options.classes)
    rows = 0
    for part, sheet in sheets:
        columns, notes = find_columns(sheet.columns, options, part.path, split_given=part.split is not None)
        problems += [*notes, *sheet.problems]
        wanted = _filtered(sheet, options, part.path)
        rows += len(sheet.rows)
        if len(wanted) < len(sheet.rows):
            reason = f"data.filter leaves {len(wanted):,} of {len(sheet.rows):,} rows"
            problems.append(Problem(part.path.name, reason, skipped=False))
        for row in wanted:
            item = _drafted(row, columns, part, options, names)
            (drafts if isinstance(item, _Draft) else problems).append(item)  # type: ignore[arg-type]
    if not drafts:
        reasons = [f"{problem.id}: {problem.reason}" for problem in problems if problem.skipped]
        raise DataError(f"none of the {rows or len(reasons)} rows can be used", where="\n".join(reasons[:5]) or None)
    problems += _doubted_labels(drafts) if options.labelled and options.label_is == "name" else ()
    ids, notes = _ids(drafts, options)
    examples = [_example(draft, id_) for draft, id_ in zip(drafts, ids, strict=True)]
    return iter(limited([*problems, *notes, *examples], options.limit))


def _filtered(sheet: Sheet, options: ColumnOptions, path: Path) -> Sequence[Row]:
    """Return the rows whose columns have the values that ``data.filter`` wants, compared as they are written."""
    rows: Sequence[Row] = sheet.rows
    for column, wanted in (options.filter or {}).items():
        if column not in sheet.columns:
            meant = nearest(column, sheet.columns)
            raise DataError(
                f"{path.name} has no column {column!r} to filter by",
                where=f"data.filter; columns found: {', '.join(sheet.columns[:30])}",
                hint=f"did you mean {meant!r}?" if meant else "name one of these",
            )
        values = {wanted} if isinstance(wanted, str) else set(wanted)
        left = [row for row in rows if str(row.cells.get(column)).strip() in values]
        if rows and not left:
            found = sorted({str(row.cells.get(column)).strip() for row in rows})
            raise DataError(
                f"data.filter leaves nothing: no row of {path.name} has {column} {' or '.join(sorted(values))}",
                where=f"values found: {', '.join(found[:12])}{' …' if len(found) > 12 else ''}",
                hint="values are compared as they are written",
            )
        rows = left
    return rows


def _drafted(row: Row, columns: Columns, part: Part, options: ColumnOptions, names: ClassNames) -> _Draft | Problem:
    cell = row.cells.get(columns.input)
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        cell = cell["bytes"]  # how the library datasets keeps a picture
    if not cell or (isinstance(cell, str) and not cell.strip()):
        return Problem(row.place, f"the input is {'missing' if cell is None else 'empty'}")
    if not isinstance(cell, (str, bytes)):
        raise DataError(
            f"column {columns.input!r} holds {'a list' if isinstance(cell, list) else 'a nested object'}, not a text",
            where=f"{row.place} in {part.path}: data.input",
            hint="flatten it: one text, number or truth value in each cell",
        )
    for name, other in row.cells.items():
        if fault := _fault_of_text(other):
            return Problem(row.place, f"column {name!r} holds {fault}")
    value: str | Path | bytes = cell
    if options.input_is == "path" and isinstance(cell, str):
        value, fault = _file_beside(part.path, cell.strip())
        if fault:
            return Problem(row.place, fault)
    label = label_of(row.cells, columns.label, options, names, row.place) if options.labelled else None
    if options.labelled and label is None:
        written = row.cells.get(str(columns.label))
        return Problem(row.place, f"the label is {'missing' if written is None else 'empty'}")
    return _Draft(row, columns, part, value, label)


def _fault_of_text(cell: Any) -> str | None:
    if isinstance(cell, str):
        if "\0" in cell:
            return "a NUL byte"
        try:
            cell.encode()
        except UnicodeEncodeError:
            return "half a surrogate pair, which is no character"
    return None


def _file_beside(table: Path, written: str) -> tuple[Path, str | None]:
    """Return the path that a table writes, taken from the table's folder, and why it is refused."""
    path = table.parent / written
    if ".." in Path(os.path.normpath(written)).parts:
        return path, f"its path leads out of the table's folder: {written}"
    return path, None if os.path.isfile(path) else f"there is no file {written}"


def _doubted_labels(drafts: Sequence[_Draft]) -> Iterable[Problem]:
    """Say which labels differ only in case.

    Raises:
        DataError: labels that are one number in several spellings, which would be several classes.
    """
    by_number: dict[Decimal, list[str]] = defaultdict(list)
    by_letters: dict[str, list[str]] = defaultdict(list)
    everything = sorted({name for draft in drafts for name in _names(draft.label)})
    for label in everything:
        by_letters[label.casefold()].append(label)
        if NUMBER.fullmatch(label):
            by_number[Decimal(label)].append(label)
    mixed = [" and ".join(map(repr, labels)) for labels in by_number.values() if len(labels) > 1]
    if mixed:
        raise DataError(
            f"labels that are one number in several spellings: {'; '.join(mixed[:5])}",
            where=f"{drafts[0].part.path}; labels found: {', '.join(everything[:12])}",
            hint="write each class one way; where labels are numbers, say `data.label_is: number`",
        )
    for labels in by_letters.values():
        if len(labels) > 1:
            reason = f"labels that differ only in case are different classes: {' and '.join(map(repr, labels))}"
            yield Problem(drafts[0].part.path.name, reason, skipped=False)


def _ids(drafts: Sequence[_Draft], options: ColumnOptions) -> tuple[list[str], list[Problem]]:
    """Return an id for each row that stays when rows are added: as its column says, else made from its input.

    Raises:
        DataError: the recipe names a column whose values are not unique.
    """
    notes: list[Problem] = []
    if all(draft.columns.id for draft in drafts):
        given = [_prefixed(draft, _cell(draft, draft.columns.id)) for draft in drafts]
        counts = Counter(given)
        faulty = next((n for n, id_ in enumerate(given) if counts[id_] > 1 or not given[n]), None)
        if faulty is None:
            return given, []
        row, column = drafts[faulty].row, drafts[faulty].columns.id
        fault = f"column {column!r} does not identify the rows: {_cell(drafts[faulty], column)!r} is " + (
            "on several" if given[faulty] else "an empty cell"
        )
        if options.id is not None:
            raise DataError(fault, where=f"{row.place}: data.id", hint="name another column, or leave data.id out")
        notes.append(Problem(row.place, f"{fault}; ids are made from the inputs", skipped=False))
    seen: Counter[str] = Counter()
    ids = []
    for draft in drafts:
        written = draft.input if isinstance(draft.input, bytes) else str(draft.row.cells[draft.columns.input]).encode()
        id_ = _prefixed(draft, hashlib.sha256(written).hexdigest()[:ID_DIGITS])
        seen[id_] += 1
        ids.append(id_ if seen[id_] == 1 else f"{id_}-{seen[id_]}")
    return ids, notes


def _cell(draft: _Draft, column: str | None) -> str:
    """Return a cell without the blanks around it; empty where there is none."""
    cell = draft.row.cells.get(column) if column else None
    return "" if cell is None else str(cell).strip()


def _prefixed(draft: _Draft, id_: str) -> str:
    """Tell rows of several files apart, so that a row added to one leaves the ids of the others alone."""
    return f"{draft.part.split}/{id_}" if draft.part.split and id_ else id_


def _example(draft: _Draft, id_: str) -> Example:
    cells, columns = draft.row.cells, draft.columns
    return Example(
        id=id_,
        input=draft.input,
        label=draft.label,
        split=draft.part.split or _cell(draft, columns.split) or None,
        group=_cell(draft, columns.group) or None,
        columns={name: _shown(cell) for name, cell in cells.items() if name not in columns.used},
    )


def limited(items: Sequence[Example | Problem], limit: int | None) -> Sequence[Example | Problem]:
    """Keep the examples whose ids hash lowest, and of the skipped ones the same share; the order stays."""
    if limit is None:
        return items
    places = {item.id: hashlib.sha256(item.id.encode()).digest() for item in items}
    ranked = sorted(places[item.id] for item in items if isinstance(item, Example))
    if limit >= len(ranked):
        return items
    last = ranked[limit - 1]
    return [item for item in items if places[item.id] <= last or (isinstance(item, Problem) and not item.skipped)]


def _names(label: Any) -> tuple[str, ...]:
    return label if isinstance(label, tuple) else (str(label),)


def _shown(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    return f"{len(cell)} bytes" if isinstance(cell, bytes) else json.dumps(cell, ensure_ascii=False, default=str)
