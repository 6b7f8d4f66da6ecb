"""From a table file to its rows: CSV, TSV, JSONL, JSON and Parquet, each cell a text as it was written.

Nothing is inferred: no cell becomes a number, a truth value or a missing one by its spelling. A line that cannot be
read is a problem with its place; the lines around it stay.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tl_data.foreign import START, refuse_foreign, unknown_suffix
from tl_data.inputs import FileCell
from tl_data.paths import absent, printable
from tl_data.text_lines import MARKS, encoding_of, lines_of
from tlcore import DataError, Problem, UsageError

__all__ = ["SUFFIXES", "Row", "Sheet", "as_text", "read_sheet", "require_possible_rows"]

DELIMITERS = (",", ";", "\t", "|")
DELIMITED = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": "\t"}
JSON = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet", ".pq")
PARQUET_FRAME = 12
"""Bytes of the marks at both ends of a Parquet file and the length before the last."""
SUFFIXES = (*DELIMITED, *JSON, *PARQUET)

SEPARATOR_LINE = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)
"""What Excel puts before a table to tell itself how the cells are separated."""
HEAD_LINES = 50
FIELD_LIMIT = 2**31 - 1
"""Characters that a cell may hold; the csv module's own limit is 131,072, and more than this no C long holds."""


@dataclass(frozen=True)
class Row:
    """One row and its place, such as ``reviews.csv:17``.

    A cell is a text, None where the file says null, or what is no text: lists and mappings of JSON, bytes and files of
    Parquet.
    """

    place: str
    cells: Mapping[str, Any]


@dataclass
class Sheet:
    """The rows of a file, the names of its columns as written, what could not be read and what was recognised."""

    columns: list[str]
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_sheet(path: Path, *, delimiter: str | None = None, encoding: str | None = None, quotes: bool = True) -> Sheet:
    """Read a table file; what is None is recognised.

    Raises:
        DataError: no such file, another format than its name says, no rows, or bytes that are not in the encoding.
        UsageError: a delimiter or an encoding that there is none of.
    """
    if not path.exists():
        raise absent(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise unknown_suffix(path, SUFFIXES)
    if not path.is_file():  # a pipe would be waited for, and a device read without end
        raise DataError(f"{path.name} is no regular file", where=str(path), hint="give a file")
    with path.open("rb") as file:
        start = file.read(START)
    if suffix in PARQUET:
        sheet = _parquet(path, start)
    else:
        refuse_foreign(path, start, delimited=suffix not in JSON)
        chosen = encoding_of(path, start, encoding)
        read = _json if suffix in JSON else partial(_delimited, delimiter=_known_delimiter(delimiter), quotes=quotes)
        sheet = read(path, chosen)
        if chosen in MARKS.values() and encoding is None:
            sheet.problems.append(Problem(path.name, f"read as {chosen}, by its byte order mark", skipped=False))
    if not sheet.rows and not sheet.problems:
        raise DataError(f"{path.name} holds no rows", where=str(path), hint="give a table with one example in each row")
    return sheet


def _known_delimiter(given: str | None) -> str | None:
    delimiter = "\t" if given in ("tab", "\\t") else given
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UsageError(
            f"{given!r} cannot stand between cells", where="data.delimiter", hint="give one character, or `tab`"
        )
    return delimiter


def _delimited(path: Path, encoding: str, *, delimiter: str | None, quotes: bool) -> Sheet:
    csv.field_size_limit(FIELD_LIMIT)
    reader = partial(csv.reader, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)
    usual = DELIMITED[path.suffix.lower()]
    with contextlib.closing(lines_of(path, encoding)) as lines:
        head = list(itertools.islice(lines, HEAD_LINES))
    said = SEPARATOR_LINE.fullmatch(head[0]) if head else None
    chosen = delimiter or (said[1] if said else _recognised(head, usual, reader))
    records = _records(path, lines_of(path, encoding), partial(reader, delimiter=chosen), passed=1 if said else 0)
    header = next(records, None)
    if header is None:
        what = "holds nothing but blank lines" if head else "is empty"
        raise DataError(f"{path.name} {what}", where=str(path), hint="give a table whose first line names the columns")
    place, names = header
    if isinstance(names, str):
        raise DataError(f"the header of {path.name} cannot be read: {names}", where=place, hint="mend its first line")
    names = _without_mark(names)
    sheet = Sheet(_column_names(names, path))
    if said:
        reason = f"its first line, {head[0].strip()}, says what separates the cells, and is no row"
        sheet.problems.append(Problem(path.name, reason, skipped=False))
    elif chosen != usual and not delimiter:
        word = {"\t": "tabs", " ": "blanks"}.get(chosen, repr(chosen))
        sheet.problems.append(Problem(path.name, f"the cells are separated by {word}", skipped=False))
    for place, cells in records:
        if isinstance(cells, str):
            sheet.problems.append(Problem(place, cells))
        elif _without_mark(cells) == names:
            sheet.problems.append(Problem(place, "it is the header once more"))
        elif len(cells) != len(sheet.columns):
            count = f"{len(cells)} cell{'s' * (len(cells) != 1)}"
            reason = f"it has {count} where the header has {len(sheet.columns)}"
            sheet.problems.append(Problem(place, reason))
        else:
            sheet.rows.append(Row(place, dict(zip(sheet.columns, cells, strict=True))))
    return sheet


def _without_mark(cells: list[str]) -> list[str]:
    """Return the cells without the byte order marks that files bring along when they are put together."""
    return [cells[0].lstrip("\ufeff"), *cells[1:]]


def _recognised(head: Sequence[str], usual: str, reader: Callable[..., Any]) -> str:
    """Return the delimiter that splits the header and gives most of the first rows as many cells as it.

    Where several do equally well, it is the one that the file's suffix promises.
    """
    best, best_share = usual, 0.0
    for candidate in (usual, *DELIMITERS):
        widths = [len(cells) for cells in reader(head, delimiter=candidate) if any(cells)]
        share = widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0.0
        if share > best_share:
            best, best_share = candidate, share
    return best


def _records(
    path: Path, lines: Iterator[str], reader: Callable[..., Any], *, passed: int
) -> Iterator[tuple[str, list[str] | str]]:
    """Yield the place and the cells of each record, or why it cannot be read; blank lines are passed over.

    ``passed`` is how many lines at the beginning are no records.
    """
    ended = False

    def watched() -> Iterator[str]:
        nonlocal ended
        yield from itertools.islice(lines, passed, None)
        ended = True

    parsed = reader(watched(), strict=True)
    while True:
        first = parsed.line_num + 1 + passed
        place = f"{path.name}:{first}"
        try:
            cells = next(parsed)
        except StopIteration:
            return
        except csv.Error as error:
            if ended:
                raise DataError(
                    f"a quotation mark is opened in line {first} of {path.name} and never closed",
                    where=f"{path}:{first}",
                    hint="close it (a mark inside a cell is written twice), or say `quotes: false`",
                ) from error
            yield place, f"its quotation marks are wrong: {error}"
            continue
        if any(cell.strip() for cell in cells) or len(cells) > 1:
            yield place, cells


def _json(path: Path, encoding: str) -> Sheet:
    lines = list(lines_of(path, encoding))
    first = next((line.lstrip() for line in lines if line.strip()), "")
    sheet = Sheet([])
    for place, value in _array(path, "".join(lines)) if first.startswith("[") else _objects(path, lines):
        if isinstance(value, Problem):
            sheet.problems.append(value)
        elif isinstance(value, _Twice):
            sheet.problems.append(Problem(place, f"the name {value.name!r} stands in it twice"))
        elif not isinstance(value, dict):
            sheet.problems.append(Problem(place, "it is no JSON object"))
        else:
            sheet.rows.append(Row(place, {name: _as_written(cell) for name, cell in value.items()}))
    sheet.columns = list(dict.fromkeys(name for row in sheet.rows for name in row.cells))
    if sheet.problems and not sheet.rows:
        fault = sheet.problems[0]
        raise DataError(
            f"{path.name} holds no JSON object that can be read",
            where=f"{fault.id}: {fault.reason}",
            hint="write one object in each line, or a list of objects",
        )
    return sheet


def _array(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        values = _parsed(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path.name} is no JSON: {error.msg}", where=f"{path}:{error.lineno}", hint="mend it, or fetch it again"
        ) from error
    except RecursionError as error:
        raise DataError(
            f"{path.name} is nested too deeply", where=str(path), hint="write one object in each line"
        ) from error
    for number, value in enumerate(values, 1):
        yield f"{path.name}: item {number}", value


def _objects(path: Path, lines: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, 1):
        place = f"{path.name}:{number}"
        if not line.strip():
            continue
        try:
            yield place, _parsed(line.rstrip("\r\n"))
        except json.JSONDecodeError as error:
            yield place, Problem(place, f"it is no JSON: {error.msg.removesuffix(' at')} at character {error.colno}")
        except RecursionError:
            yield place, Problem(place, "it is nested too deeply")


def _parsed(text: str) -> Any:
    """Parse JSON whose numbers stay as they are spelt; NaN and infinity, which JSON does not have, are missing.

    An object that says two things under one name becomes a ``_Twice``: readers of JSON would take the last.
    """
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=_object)


@dataclass(frozen=True)
class _Twice:
    name: str


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    return _Twice(next(name for name in names if names.count(name) > 1))


def _as_written(value: Any) -> Any:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _parquet(path: Path, start: bytes) -> Sheet:
    if not start:
        raise DataError(f"{path.name} is empty (0 bytes)", where=str(path), hint="fetch or save it again")
    if not start.startswith(b"PAR1"):
        raise DataError(
            f"{path.name} is no Parquet file by its content",
            where=f"{path}: it begins with {printable(start[:8].decode('latin-1'))!r}",
            hint="give it the suffix of what it is, such as .csv",
        )
    if path.stat().st_size < PARQUET_FRAME or not _ends_with(path, b"PAR1"):
        raise DataError(
            f"{path.name} is cut off: it does not end as a Parquet file does",
            where=str(path),
            hint="fetch or save it again",
        )
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path)
        require_possible_rows(path, table.metadata.num_rows)
        sheet = Sheet(_column_names(table.schema_arrow.names, path))
        for batch in table.iter_batches():
            columns = [batch.column(number).to_pylist() for number in range(batch.num_columns)]
            for cells in zip(*columns, strict=True):
                place = f"{path.name}: row {len(sheet.rows) + 1}"
                texts = map(as_text, cells)
                sheet.rows.append(Row(place, dict(zip(sheet.columns, texts, strict=True))))
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).splitlines()[0]
        raise DataError(f"{path.name} is damaged: {said}", where=str(path), hint="fetch or save it again") from error
    return sheet


def require_possible_rows(path: Path, rows: int) -> None:
    """Refuse a Parquet file that repeats a few rows without end: different ones take more than a byte each.

    Raises:
        DataError: with both numbers.
    """
    size = path.stat().st_size
    if rows > size:
        raise DataError(
            f"refused: {path.name} has {rows:,} rows in {size:,} bytes",
            where=str(path),
            hint="rows that are all the same say nothing; keep one of each",
        )


def _ends_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        file.seek(-len(mark), io.SEEK_END)
        return file.read() == mark


def as_text(value: Any) -> Any:
    """Return a typed cell as a text, None where it is missing; bytes, lists and mappings stay what they are.

    What the library datasets keeps of a picture becomes its bytes, or the file that stands for them.
    """
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        path = value["path"]
        return value["bytes"] if value["bytes"] is not None else FileCell(path) if path else None
    missing = value is None or value != value  # only NaN differs from itself
    if missing or isinstance(value, (bytes, list, dict)):
        return None if missing else value
    return str(value)


def _column_names(names: Sequence[str], path: Path) -> list[str]:
    """Return the names as they are written; a column without one is called by its number.

    Raises:
        DataError: a name that stands twice, or bytes that show another encoding.
    """
    columns = [name if name.strip() else f"column {number}" for number, name in enumerate(names, 1)]
    if twice := next((name for name in columns if columns.count(name) > 1), None):
        raise DataError(f"{path.name} has two columns {twice!r}", where=f"{path}:1", hint="give each its own name")
    if any("\0" in name for name in columns):
        raise DataError(
            f"the header of {path.name} holds NUL bytes",
            where=f"{path}:1",
            hint="remove them, or name the file's encoding: `data.encoding: NAME`",
        )
    return columns
