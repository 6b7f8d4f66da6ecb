"""Which column holds what: as the recipe names it, or by the usual names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tl_data import ColumnOptions
from tlcore import DataError, Problem, nearest

__all__ = ["Columns", "find_columns"]

USUAL = {
    "text": ("text", "sentence", "review", "content", "tweet", "message", "comment", "document", "utterance"),
    "path": ("image", "path", "file", "filename", "file_name", "filepath", "picture", "photo"),
    "label": ("label", "labels", "class", "category", "sentiment", "target", "stars", "intent"),
    "split": ("split",),
    "id": ("id",),
}
"""The first of each wins over the others, among which a choice would be a guess."""

LIKE_SPLITS = ("set", "fold", "subset", "partition")
RECOGNISED = re.compile(r"[,;\t|]")
SIGNS = re.compile(r"[^\w\s.()/%#?'\"-]")
"""Signs that separate cells; what names of columns hold themselves is none."""
SHOWN_COLUMNS = 30
SHOWN_LETTERS = 40


@dataclass(frozen=True)
class Columns:
    """The names of the columns, as the file writes them."""

    input: str
    label: str | None
    split: str | None
    group: str | None
    id: str | None
    labels: tuple[str, ...] = ()

    @property
    def used(self) -> set[str | None]:
        """The columns that are not left over."""
        return {self.input, self.label, self.split, self.group, self.id, *self.labels}


def find_columns(
    columns: Sequence[str], options: ColumnOptions, path: Path, *, split_given: bool
) -> tuple[Columns, list[Problem]]:
    """Return which column holds what, and what should be said about the choice.

    ``split_given``: the split of all rows is known, so no column is looked for.

    Raises:
        DataError: a column that is missing, or several that it could be; the message lists those of the file.
    """
    search = _Search(columns, path)
    wanted = {"input": options.input_is, "label": "label", "split": "split", "group": "", "id": "id"}
    if not options.labelled or options.labels:
        del wanted["label"]
    search.require_all(
        [(role, name) for role in wanted if (name := getattr(options, role)) is not None]
        + [("labels", name) for name in options.labels if options.labelled]
    )
    labels = tuple(search.named("labels", name) for name in options.labels) if options.labelled else ()
    named = {role: getattr(options, role) for role in wanted}
    found: dict[str, str | None] = {role: search.named(role, name) for role, name in named.items() if name is not None}
    for role, usual in wanted.items():
        if role not in found and usual and not (role == "split" and split_given):
            found[role] = search.usual(role, USUAL[usual], taken=set(found.values()))
    missing = [role for role in ("input", "label") if role in wanted and found.get(role) is None]
    if missing:
        raise search.missing(missing, taken=set(found.values()))
    if found["input"] == found.get("label"):
        raise DataError(f"column {found['input']!r} is named as input and as label", where="data.input, data.label")
    look_alike = next((name for name in columns if _folded(name) in LIKE_SPLITS and name not in found.values()), None)
    if look_alike and not found.get("split") and not split_given:
        search.say(f"column {look_alike!r} is not read as the split; if it is, write `data.split: {look_alike}`")
    chosen = {role: found.get(role) for role in ("label", "split", "group", "id")}
    return Columns(input=str(found["input"]), labels=labels, **chosen), search.notes


class _Search:
    """One search through the columns of one file."""

    def __init__(self, columns: Sequence[str], path: Path) -> None:
        self.columns = columns
        self.path = path
        self.notes: list[Problem] = []

    def say(self, reason: str) -> None:
        self.notes.append(Problem(self.path.name, reason, skipped=False))

    def require_all(self, named: Sequence[tuple[str, str]]) -> None:
        """Name all columns that are missing at once, where there are several."""
        known = [_folded(column) for column in self.columns]
        missing = [(role, name) for role, name in named if _folded(name) not in known]
        if len(missing) < 2:
            return
        meant = [nearest(name, self.columns) for _, name in missing]
        raise DataError(
            f"{self.path.name} has no columns {', '.join(repr(name) for _, name in missing)}",
            where=f"{self.path}: {', '.join(f'data.{role}' for role, _ in missing)}; {self._found()}",
            hint=f"did you mean {', '.join(map(repr, filter(None, meant)))}?"
            if any(meant)
            else "name those of the file",
        )

    def named(self, role: str, name: str) -> str:
        if name in self.columns:
            return name
        alike = [column for column in self.columns if _folded(column) == _folded(name)]
        if len(alike) == 1:
            self.say(f"column {alike[0]!r} is taken for {name!r}")
            return alike[0]
        if alike:
            raise self._ambiguous(role, alike)
        meant = nearest(name, self.columns)
        hint = f"did you mean {meant!r}?" if meant else f"write data.{role}: and one of these"
        raise DataError(
            f"{self.path.name} has no column {name!r}",
            where=f"{self.path}: data.{role}; {self._found()}",
            hint=self._separated() or hint,
        )

    def usual(self, role: str, names: Sequence[str], *, taken: set[str | None]) -> str | None:
        for among in (names[:1], names[1:]):
            alike = [column for column in self.columns if _folded(column) in among and column not in taken]
            if len(alike) > 1:
                raise self._ambiguous(role, alike)
            if alike:
                if alike[0] not in among:
                    self.say(f"column {alike[0]!r} is taken as the {role}")
                return alike[0]
        return None

    def missing(self, roles: Sequence[str], *, taken: set[str | None]) -> DataError:
        free = [column for column in self.columns if column not in taken]
        pairs = zip(roles, free or ["NAME"], strict=False)
        hint = "name what holds it, such as " + ", ".join(f"`data.{role}: {_short(name)}`" for role, name in pairs)
        if "input" in roles and any(_folded(column) in USUAL["path"] for column in free):
            hint += "; where that column holds paths of files, write `data.input_is: path` too"
        if len(roles) > 1:
            hint += "; if the first line is a row already, put a line with the names above it, such as `text,label`"
        return DataError(
            f"{self.path.name} has no column with a usual name for the {' and the '.join(roles)}",
            where=f"{self.path}; {self._found()}",
            hint=self._separated() or (hint if free else f"add such a column; {hint}"),
        )

    def _separated(self) -> str | None:
        """Return what to do where the only column bears a sign that stands between cells, or None."""
        signs = RECOGNISED.findall(self.columns[0]) or SIGNS.findall(self.columns[0]) if len(self.columns) == 1 else []
        if not signs:
            return None
        others = "leave data.delimiter out, or write" if signs[0] in ",;\t|" else "write"
        return f"the cells seem to be separated by {signs[0]!r}: {others} `data.delimiter: {json.dumps(signs[0])}`"

    def _ambiguous(self, role: str, alike: Sequence[str]) -> DataError:
        return DataError(
            f"several columns of {self.path.name} could be the {role}: {', '.join(map(repr, alike))}",
            where=str(self.path),
            hint=f"name one: `data.{role}: {alike[0]}`",
        )

    def _found(self) -> str:
        shown = ", ".join(_short(column) for column in self.columns[:SHOWN_COLUMNS])
        return f"columns found: {shown}" + (" …" if len(self.columns) > SHOWN_COLUMNS else "")


def _folded(name: str) -> str:
    return name.strip().casefold()


def _short(name: str) -> str:
    return name if len(name) <= SHOWN_LETTERS else f"{name[:SHOWN_LETTERS]}…"
