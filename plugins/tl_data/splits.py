"""The splits of a data set of the library datasets, as rows: nothing of theirs is decoded, and no script is run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tl_data import DatasetOptions, HubOptions
from tl_data.filtering import passes, require_columns
from tl_data.inputs import Part
from tl_data.paths import printable
from tl_data.rows import Row, Sheet, as_text
from tl_data.table import examples_of
from tlcore import DataError, Example, Problem, TLError, nearest
from tlcore.support import SPLIT_NAMES

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

__all__ = ["Splits", "examples_of_splits"]

Splits: TypeAlias = "Mapping[str, Dataset] | Mapping[str, IterableDataset]"
"""The parts of a data set by their names; an empty name stands for rows that are in no split."""

BATCH = 100


def examples_of_splits(
    found: Splits,
    path: Path,
    options: DatasetOptions | HubOptions,
    *,
    roots: tuple[Path, ...],
    refusal: Callable[[Exception], TLError],
    fetched: Callable[[str], bytes] | None = None,
) -> Iterator[Example | Problem]:
    """Yield the rows of the splits that are wanted, and say which were left out.

    ``roots`` are the folders below which the data set may name files, ``fetched`` reads those that lie elsewhere, and
    ``refusal`` makes a refusal of what goes wrong while rows are read.

    Raises:
        DataError: there is no such split, or none that is called train.
    """
    splits = _chosen(found, options.splits, path)
    for name in found:
        if name not in splits.values():
            what = f"its split {name!r} is" if name else "files that name no split are"
            yield Problem(path.name, f"{what} not used; data.splits can name those that are", skipped=False)
    streamed = isinstance(options, HubOptions) and options.streaming
    sheets = (
        (
            Part(path / printable(name) if name else path, split or None, roots, fetched),
            _sheet(found[name], name, path, options, streamed, refusal),
        )
        for split, name in splits.items()
    )
    yield from examples_of(sheets, options)


def _chosen(found: Splits, wanted: Mapping[str, str] | None, path: Path) -> dict[str, str]:
    """Return which of the data set's splits is each of ours."""
    if wanted:
        return {ours: _named(ours, theirs, found, path) for ours, theirs in wanted.items()}
    if len(found) == 1:
        return {"": next(iter(found))}
    named: dict[str, str] = {}
    for name in found:
        split = SPLIT_NAMES.get(name.casefold())
        if split in named:
            raise DataError(
                f"{named[split]!r} and {name!r} of {path} are both the {split} split",
                hint=f"name one: `data.splits: {{{split}: {name}}}`",
            )
        if split is not None:
            named[split] = name
    if "train" not in named:
        raise DataError(
            f"none of the splits of {path} is called train",
            where=f"its splits: {', '.join(found)}",
            hint=f"name it: `data.splits: {{train: {next(iter(found))}}}`",
        )
    return named


def _named(ours: str, theirs: str, found: Splits, path: Path) -> str:
    if ours not in SPLIT_NAMES.values():
        raise DataError(
            f"{ours!r} is no split of a run", where="data.splits", hint="ours are train, validation and test"
        )
    if theirs not in found:
        meant = nearest(theirs, found)
        raise DataError(
            f"{path} has no split {theirs!r}",
            where=f"its splits: {', '.join(found)}",
            hint=f"did you mean {meant!r}?" if meant else "name one of these in data.splits",
        )
    return theirs


def _sheet(
    dataset: Any,
    name: str,
    path: Path,
    options: DatasetOptions | HubOptions,
    streamed: bool,
    refusal: Callable[[Exception], TLError],
) -> Sheet:
    """Return a split as a sheet: classes by their names, pictures as the bytes or files that they are stored as.

    Of a streamed one with a limit only so many rows are read that pass the filter.
    """
    from datasets import ClassLabel

    features = dataset.features or {}
    names = {
        column: inner.names
        for column, feature in features.items()
        if isinstance(inner := getattr(feature, "feature", feature), ClassLabel)
    }
    found = (
        {column: _cell(value, names.get(column)) for column, value in cells.items()}
        for cells in _stored(dataset, refusal)
    )
    first = next(found, {})
    sheet = Sheet(list(features or first))
    rows: Iterable[Mapping[str, Any]] = itertools.chain([first] if first else [], found)
    if streamed and options.limit:
        wanted = options.filter or {}
        require_columns(sheet.columns, wanted, path)
        rows = itertools.islice((cells for cells in rows if passes(cells, wanted)), options.limit)
    sheet.rows += (Row(f"{name or 'row'} {number}", cells) for number, cells in enumerate(rows, 1))
    return sheet


def _stored(dataset: Any, refusal: Callable[[Exception], TLError]) -> Iterator[dict[str, Any]]:
    """Yield each row as it is stored, whatever form the data set was last wanted in."""
    try:
        for batch in dataset.with_format("arrow").iter(batch_size=BATCH):
            yield from batch.to_pylist()
    except Exception as error:  # a network or a damaged file, under many layers that each have errors of their own
        raise refusal(error) from error


def _cell(value: Any, names: list[str] | None) -> Any:
    if isinstance(value, list):
        return [_cell(item, names) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if names is not None and isinstance(value, int):
        return names[value] if 0 <= value < len(names) else None
    return as_text(value)
