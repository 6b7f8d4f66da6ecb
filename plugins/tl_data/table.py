"""Tables: one example in each row."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeGuard

from tl_data import ColumnOptions, FileOptions, TableOptions
from tl_data.columns import Columns, find_columns
from tl_data.filtering import filtered
from tl_data.inputs import FileCell, Part, input_of
from tl_data.labels import ClassNames, alike, label_of
from tl_data.paths import absent, printable
from tl_data.rows import SUFFIXES, Row, Sheet, read_sheet
from tlcore import DataError, DataSource, Example, Problem, UnreadableError, UsageError
from tlcore.support import SPLIT_NAMES

__all__ = ["TableSource", "examples_of", "limited", "read_parts"]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
ID_DIGITS = 16


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
        return examples_of(read_parts(self._parts(), self.options), self.options)

    def columns(self) -> dict[str, list[Any]]:
        """Return the cells of each column of the table, or of the first of several, for whoever has to choose columns.

        Raises:
            DataError: as ``examples`` does.
        """
        _, sheet = next(read_parts(self._parts(), self.options))
        return {name: [row.cells.get(name) for row in sheet.rows] for name in sheet.columns}

    def roles(self) -> dict[str, str]:
        """Return the column of each key of the recipe, such as ``label``, that was named or has a usual name.

        Raises:
            DataError: a column that is missing, or several that it could be.
        """
        part, sheet = next(read_parts(self._parts(), self.options))
        found, _ = find_columns(sheet.columns, self.options, part.path, split_given=part.split is not None)
        chosen = {role: getattr(found, role) for role in ("input", "label", "split", "group", "id")}
        return {role: name for role, name in chosen.items() if name is not None}

    def _parts(self) -> list[Part]:
        path = self.options.path
        if not path.exists():
            raise absent(path)
        if not path.is_dir():
            return [Part(path)]
        if self.options.split is not None:
            raise UsageError(
                f"{path} is a folder whose file names say the split, and data.split names a column",
                hint="give one table file, or leave data.split out",
            )
        return _parts_of_folder(path)


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
        wanted = filtered(sheet, options.filter or {}, part.path)
        rows += len(sheet.rows)
        if len(wanted) < len(sheet.rows):
            reason = f"data.filter leaves {len(wanted):,} of {len(sheet.rows):,} rows"
            problems.append(Problem(part.path.name, reason, skipped=False))
        items = [_drafted(row, columns, part, options, names) for row in wanted]
        drafts += (item for item in items if isinstance(item, _Draft))
        problems += (item for item in items if isinstance(item, Problem))
        problems += (_note_of_nul(item) for item in items if _holds_nul(item))
        if part.split and wanted and all(row.cells.get(str(columns.label)) is None for row in wanted):
            _require_labels(part, columns)
    if not drafts:
        reasons = [f"{problem.id}: {problem.reason}" for problem in problems if problem.skipped]
        raise DataError(
            f"none of the {rows or len(reasons)} rows can be used",
            where="\n".join(reasons[:5]) or None,
            hint="see the reasons above: the header may have too few names, or other columns be meant (data.input)",
        )
    problems += _doubted_labels(drafts) if options.labelled and options.label_is == "name" else ()
    ids, notes = _ids(drafts, options)
    examples = [_example(draft, id_) for draft, id_ in zip(drafts, ids, strict=True)]
    return iter(limited([*problems, *notes, *examples], options.limit))


def _drafted(row: Row, columns: Columns, part: Part, options: ColumnOptions, names: ClassNames) -> _Draft | Problem:
    try:
        value = input_of(row.cells.get(columns.input), columns.input, part, options, row.place)
    except UnreadableError as error:
        return Problem(row.place, str(error))
    for name, other in row.cells.items():
        if fault := _fault_of_text(other, is_input=name == columns.input and options.input_is == "text"):
            return Problem(row.place, f"column {name!r} holds {fault}")
    label = label_of(row.cells, columns, options, names, row.place) if options.labelled else None
    if options.labelled and label is None:
        written = row.cells.get(str(columns.label))
        return Problem(row.place, f"the label is {'missing' if written is None else 'empty'}")
    if options.label_is == "number" and isinstance(label, str) and not NUMBER.fullmatch(label):
        return Problem(row.place, f"the label {printable(label)!r} is no number; write it with a decimal point: 3.5")
    return _Draft(row, columns, part, value, label)


def _require_labels(part: Part, columns: Columns) -> None:
    """Refuse a split that nobody labelled, as the test splits of competitions are.

    Raises:
        DataError: its rows are to have labels.
    """
    if columns.label is not None:
        raise DataError(
            f"no row of the {part.split} split has a label",
            where=f"{part.path}: column {columns.label!r}",
            hint="leave that split out (`data.splits` names those to use, or take its file away); one is then drawn "
            "from the training examples",
        )


def _fault_of_text(cell: Any, *, is_input: bool) -> str | None:
    """Return why a cell cannot be used. A text may hold NUL bytes, which tokenizers pass over; a name may not."""
    if isinstance(cell, str):
        if "\0" in cell and not is_input:
            return "a NUL byte, which texts do not have: the file is damaged there, or in another encoding"
        try:
            cell.encode()
        except UnicodeEncodeError:
            return "half a surrogate pair, which is no character"
    return None


def _holds_nul(item: _Draft | Problem) -> TypeGuard[_Draft]:
    return isinstance(item, _Draft) and isinstance(item.input, str) and "\0" in item.input


def _note_of_nul(draft: _Draft) -> Problem:
    reason = f"column {draft.columns.input!r} holds a NUL byte; the text is used as it stands"
    return Problem(draft.row.place, reason, skipped=False)


def _doubted_labels(drafts: Sequence[_Draft]) -> Iterable[Problem]:
    """Say which labels differ only in case, look the same, or may mean the same.

    Raises:
        DataError: labels that are one number in several spellings, which would be several classes.
    """
    by_number: dict[Decimal, list[str]] = defaultdict(list)
    everything = sorted({name for draft in drafts for name in _names(draft.label)})
    for label in everything:
        if NUMBER.fullmatch(label):
            by_number[Decimal(label)].append(label)
    mixed = [" and ".join(map(repr, labels)) for labels in by_number.values() if len(labels) > 1]
    if mixed:
        raise DataError(
            f"labels that are one number in several spellings: {'; '.join(mixed[:5])}",
            where=f"{drafts[0].part.path}; labels found: {', '.join(everything[:12])}",
            hint="write each class one way; where labels are numbers, say `data.label_is: number`",
        )
    folded = {label.casefold() for label in everything}
    for answer, digit in (("true", "1"), ("false", "0")):
        if answer in folded and digit in folded:
            reason = f"labels that may mean the same are different classes: {answer} and {digit}"
            yield Problem(drafts[0].part.path.name, reason, skipped=False)
    for reason in alike(everything):
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
        id_ = _prefixed(draft, hashlib.sha256(_identifying(draft)).hexdigest()[:ID_DIGITS])
        seen[id_] += 1
        ids.append(id_ if seen[id_] == 1 else f"{id_}-{seen[id_]}")
    return ids, notes


def _identifying(draft: _Draft) -> bytes:
    """Return what a row's id is made from: the input as it is written, of a data set's own files the content."""
    cell = draft.row.cells[draft.columns.input]
    if isinstance(cell, str):
        return cell.encode()
    if isinstance(draft.input, Path):
        return draft.input.read_bytes()
    return draft.input if isinstance(draft.input, bytes) else draft.input.encode()


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
    if isinstance(cell, FileCell):
        return cell.path
    return f"{len(cell)} bytes" if isinstance(cell, bytes) else json.dumps(cell, ensure_ascii=False, default=str)
