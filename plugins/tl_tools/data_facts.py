"""What a look at data tells: how it is read, what its inputs and labels are, how many there are of each."""

from __future__ import annotations

import math
import mimetypes
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Example, HasColumns, Problem
from tlcore.errors import DataError, UsageError, nearest_file

if TYPE_CHECKING:
    from tlcore.contracts import DataSource
    from tlcore.plugins.registry import Registry

__all__ = ["Facts", "looked_at"]

MANY_NUMBERS = 20
"""With more different values than this, numbers are quantities rather than names."""
MOSTLY = 0.9
"""So large a share of inputs or labels of one kind says what they are; the others are listed."""
ENOUGH_ROWS = 10
"""Fewer rows do not show what a column holds."""
MOST_CLASSES = 100
WORDS_OF_A_TEXT = 3
PROBED = 3
RECIPE_LINE = re.compile(r"`data\.(\w+): ([^`]*)`")
"""How hints say what to write into a recipe that does not exist yet."""


@dataclass(frozen=True)
class Facts:
    """What was found in the data; ``chosen`` says in words which columns were told by their content."""

    section: Mapping[str, Any]
    examples: Sequence[Example]
    problems: Sequence[Problem]
    chosen: Sequence[str] = ()

    @cached_property
    def kind(self) -> str:
        """What the labels are: of several ones, numbers, or classes."""
        labels = [example.label for example in self.examples]
        if any(isinstance(label, tuple) for label in labels):
            return "multilabel"
        distinct = {str(label) for label in labels}
        numbers = sum(map(is_number, distinct))
        return "regression" if numbers > MANY_NUMBERS and numbers >= MOSTLY * len(distinct) else "classification"

    @cached_property
    def no_numbers(self) -> list[str]:
        """The labels that stand among numbers and are none."""
        labels = {str(example.label) for example in self.examples}
        return sorted(label for label in labels if not is_number(label)) if self.kind == "regression" else []

    @cached_property
    def counts(self) -> Counter[str]:
        """How many examples each label has."""
        return Counter(
            str(name)
            for example in self.examples
            for name in (example.label if isinstance(example.label, tuple) else (example.label,))
        )

    @cached_property
    def media(self) -> str:
        """The first half of the MIME type of most inputs, ``text`` for strings; empty where they have no common one."""
        [(media, count)] = Counter(_media(example.input) for example in self.examples).most_common(1)
        return media if count >= MOSTLY * len(self.examples) else ""

    def modality(self, registry: Registry) -> str | None:
        """Return the only modality that is for the inputs' media, or that can read files of unknown kinds."""
        offers = registry.offers("backbone")
        if self.media:
            able = {str(offer.modality) for offer in offers if offer.spec.media == self.media}
        else:
            modalities = {str(offer.modality) for offer in offers}
            able = {modality for modality in modalities if _can_read(modality, self.examples, registry)}
        return able.pop() if len(able) == 1 else None


def looked_at(path: Path, overrides: Sequence[str], registry: Registry) -> Facts:
    """Read the data with the source that it is laid out for; columns stand in the section by their names.

    ``overrides`` are keys of data that were asked for, such as ``data.label=stars``.

    Raises:
        RecipeError: there is no such key, or it has another kind of value.
        DataError: nothing can be read, or nothing says which column holds what.
    """
    if not path.exists():
        beside = [entry.name for entry in path.absolute().parent.iterdir()] if path.absolute().parent.is_dir() else []
        meant = nearest_file(path.name, beside)
        raise DataError(f"there is no {path}", hint=f"did you mean {meant!r}?" if meant else "check --data")
    section: dict[str, Any] = {"source": _source_for(path, registry), "path": str(path)}
    asked = _asked(section, overrides, registry)
    section |= asked
    chosen: list[str] = []
    try:
        source = _built(section, registry)
        if isinstance(source, HasColumns):
            section, chosen = _with_columns(section, asked, registry)
            return _read(section, chosen, registry)
        return _read_as_texts_or_files(section, registry)
    except (DataError, UsageError) as error:
        error.hint = RECIPE_LINE.sub(
            lambda line: f"`--set {shlex.quote(f'data.{line[1]}={line[2]}')}`", error.hint or ""
        )
        raise


def is_number(text: str) -> bool:
    """Say whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _media(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    return (mimetypes.guess_type(str(value))[0] or "").partition("/")[0] if isinstance(value, Path) else ""


def _source_for(path: Path, registry: Registry) -> str:
    """Return the name of the source that recognizes a path.

    Raises:
        DataError: a folder that none recognizes; the message names the tables in it.
    """
    offer = registry.source_for(path)
    if offer is not None:
        return registry.shortest_name(offer)
    if path.is_file():
        return "table"  # which says what the file is instead
    tables = sorted(entry for entry in path.iterdir() if entry.is_file() and registry.source_for(entry))
    if not tables:
        raise DataError(f"no data source recognizes {path}", hint="`tl list data` shows what there is")
    raise DataError(
        f"{path} holds tables and no class folders",
        where=f"tables found: {', '.join(table.name for table in tables[:12])}",
        hint=f"name one: --data {shlex.quote(str(tables[0]))}; or call them train.csv and test.csv",
    )


def _asked(section: Mapping[str, Any], overrides: Sequence[str], registry: Registry) -> dict[str, Any]:
    """Return the keys that overrides set, with their values as a recipe holds them."""
    from tlcore.recipe import read_data_section
    from tlcore.recipe.writing import plain_value

    data = read_data_section(section, registry, overrides)
    names = dict.fromkeys(override.partition("=")[0].split(".")[1].strip() for override in overrides)
    return {name: plain_value(getattr(data, name, getattr(data.source.options, name, None))) for name in names}


def _built(section: Mapping[str, Any], registry: Registry) -> DataSource:
    from tlcore.recipe import read_data_section

    chosen = read_data_section(section, registry)
    source: DataSource = chosen.source.spec.build(chosen.source.options)
    return source


def _read(section: Mapping[str, Any], chosen: Sequence[str], registry: Registry) -> Facts:
    found = list(_built(section, registry).examples())
    examples = [one for one in found if isinstance(one, Example) and one.label is not None]
    if not examples:
        raise DataError("the data holds no labelled example", hint="name the column: `data.label: COLUMN`")
    return Facts(section, examples, [one for one in found if isinstance(one, Problem)], chosen)


def _read_as_texts_or_files(section: Mapping[str, Any], registry: Registry) -> Facts:
    from tlcore.recipe import read_data_section

    try:
        return _read(section, (), registry)
    except DataError as error:
        if "input_is" in section or not hasattr(read_data_section(section, registry).source.options, "input_is"):
            raise
        try:
            return _read({**section, "input_is": "path"}, (), registry)
        except DataError:
            raise error from None


def _with_columns(
    section: Mapping[str, Any], asked: Mapping[str, Any], registry: Registry
) -> tuple[dict[str, Any], list[str]]:
    """Return the section with the columns that were recognised by their names, else by what they hold.

    Raises:
        DataError: neither says which column holds what.
    """
    as_paths = {} if "input_is" in asked else {"input_is": "path"}
    columns: dict[str, list[Any]] = _built(section, registry).columns()  # type: ignore[attr-defined]
    try:
        found = _roles(section, registry)
        if as_paths and _are_files(columns[found["input"]], Path(section["path"])):
            found |= as_paths
        chosen: list[str] = []
    except DataError as unnamed:
        try:
            found = _roles({**section, **as_paths}, registry) | as_paths
            chosen = []
        except DataError:
            found = _told_by_content(columns, section)
            if not found:
                raise unnamed from None
            chosen = [
                f"column {found[role]!r} is taken as the {role} by what it holds"
                for role in ("input", "label")
                if role in found and role not in asked
            ]
    labels = columns.get(str(found.get("label")), [])
    spellings = {str(cell).strip() for cell in labels}
    if "label_is" not in asked and all(map(is_number, spellings)) and len(set(map(float, spellings))) < len(spellings):
        found["label_is"] = "number"
    return {**section, **{key: value for key, value in found.items() if key not in asked}}, chosen


def _roles(section: Mapping[str, Any], registry: Registry) -> dict[str, str]:
    return dict(_built(section, registry).roles())  # type: ignore[attr-defined]


def _told_by_content(columns: Mapping[str, Sequence[Any]], section: Mapping[str, Any]) -> dict[str, str]:
    """Return the columns of the input and the label where what they hold leaves no choice; empty where it does.

    A column of files or else of texts is the input, one of few short values that come again is the label.
    """
    free = {name: cells for name, cells in columns.items() if name not in map(str, section.values())}
    found = {role: str(section[role]) for role in ("input", "label") if role in section}
    if "input" not in found:
        files = [name for name, cells in free.items() if _are_files(cells, Path(section["path"]))]
        candidates = files or [name for name, cells in free.items() if _are_texts(cells)]
        if len(candidates) != 1:
            return {}
        found["input"] = candidates[0]
        found |= {"input_is": "path"} if files and "input_is" not in section else {}
    if "label" not in found and "labels" not in section:
        candidates = [name for name, cells in free.items() if name != found["input"] and _are_classes(cells)]
        if len(candidates) != 1:
            return {}
        found["label"] = candidates[0]
    return found


def _are_files(cells: Sequence[Any], table: Path) -> bool:
    folder = table if table.is_dir() else table.parent
    written = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    # Looking for files is slow; what does not look like the name of one is not looked for.
    named = [cell for cell in written if len(cell) < 1000 and mimetypes.guess_type(cell)[0]]
    if len(named) < max(1, MOSTLY * len(written)):
        return False
    return sum((folder / cell).is_file() for cell in named[:ENOUGH_ROWS]) >= MOSTLY * len(named[:ENOUGH_ROWS])


def _are_texts(cells: Sequence[Any]) -> bool:
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    words = sum(len(text.split()) for text in texts)
    return (
        len(texts) >= max(ENOUGH_ROWS, MOSTLY * len(cells))
        and len(set(texts)) >= MOSTLY * len(texts)
        and words >= WORDS_OF_A_TEXT * len(texts)
    )


def _are_classes(cells: Sequence[Any]) -> bool:
    names = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    distinct = set(names)
    return (
        len(names) >= max(ENOUGH_ROWS, MOSTLY * len(cells))
        and 2 <= len(distinct) <= min(MOST_CLASSES, len(names) // 3)
        and all(len(name.split()) < 2 * WORDS_OF_A_TEXT for name in distinct)
    )


def _can_read(modality: str, examples: Sequence[Example], registry: Registry) -> bool:
    """Say whether the first backbone of a modality that can be built reads the first inputs."""
    for offer in registry.offers("backbone"):
        if offer.modality == modality:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    backbone = offer.spec.build(offer.spec.smoke(Path(folder)), None)
                except Exception:  # noqa: S112 - its weights may be absent, or its plugin may not work: ask another one
                    continue
                try:
                    backbone.prepare(examples[:PROBED], None)
                    return True
                except Exception:  # what it cannot read, it refuses in any way that it likes
                    return False
    return False
