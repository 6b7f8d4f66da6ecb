"""Rows by the values of their columns, compared as they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tl_data.rows import Row, Sheet
from tlcore import DataError, nearest

__all__ = ["Filter", "filtered", "passes", "require_columns"]

Filter = Mapping[str, "str | tuple[str, ...]"]
SHOWN_COLUMNS, SHOWN_VALUES = 30, 12


def filtered(sheet: Sheet, wanted: Filter, path: Path) -> Sequence[Row]:
    """Return the rows whose columns have the values that are wanted.

    Raises:
        DataError: there is no such column, or nothing is left.
    """
    require_columns(sheet.columns, wanted, path)
    rows: Sequence[Row] = sheet.rows
    for column, value in wanted.items():
        left = [row for row in rows if passes(row.cells, {column: value})]
        if rows and not left:
            found = sorted({written for row in rows for written in _written(row.cells.get(column))})
            more = " …" if len(found) > SHOWN_VALUES else ""
            raise DataError(
                f"data.filter leaves nothing: no row of {path.name} has {column} {' or '.join(sorted(_values(value)))}",
                where=f"values found: {', '.join(found[:SHOWN_VALUES])}{more}",
                hint="values are compared as they are written",
            )
        rows = left
    return rows


def passes(cells: Mapping[str, Any], wanted: Filter) -> bool:
    """Say whether a row has one of the values that are wanted of each column; of a list it needs to hold one."""
    return all(not _values(value).isdisjoint(_written(cells.get(column))) for column, value in wanted.items())


def require_columns(columns: Sequence[str], wanted: Filter, path: Path) -> None:
    """Refuse a filter by a column that is not there.

    Raises:
        DataError: the message lists those that are.
    """
    for column in wanted:
        if column not in columns:
            meant = nearest(column, columns)
            raise DataError(
                f"{path.name} has no column {column!r} to filter by",
                where=f"data.filter; columns found: {', '.join(columns[:SHOWN_COLUMNS])}",
                hint=f"did you mean {meant!r}?" if meant else "name one of these",
            )


def _values(wanted: str | tuple[str, ...]) -> set[str]:
    return {wanted} if isinstance(wanted, str) else set(wanted)


def _written(cell: Any) -> list[str]:
    cells = cell if isinstance(cell, list) else [cell]
    return ["" if one is None else str(one).strip() for one in cells]
