"""How a run holds its examples: there may be millions, so each is held in few bytes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tlcore.contracts import Example

__all__ = ["Digests", "FileExample", "held", "place"]

MOST_LABELS = 1000
"""So many different labels are shared between examples; more are no classes."""

_input = Example.__dict__["input"]
_no_columns: dict[str, Any] = {}


class Digests(Mapping[str, str]):
    """The SHA-256 of each example's content in hexadecimal by id, held as the 32 bytes that it is."""

    def __init__(self) -> None:
        self._raw: dict[str, bytes] = {}

    def __getitem__(self, id_: str) -> str:
        return self._raw[id_].hex()

    def __setitem__(self, id_: str, digest: str) -> None:
        self._raw[id_] = bytes.fromhex(digest)

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def raw(self, id_: str) -> bytes:
        """Return the digest of an example as bytes, the same object whenever it is asked for."""
        return self._raw[id_]


class FileExample(Example):
    """An example whose input is a file: the folder that ids are relative to is held, shared, and no path.

    A path takes more memory than all the rest of an example, and opening it makes it larger still.
    """

    __slots__ = ()

    def _path(self) -> Path:
        """Return the path of the file, made anew."""
        stored: str | Path = _input.__get__(self)
        return stored if isinstance(stored, Path) else Path(stored, self.id)

    def _hold(self, path: Path) -> None:
        text, end = os.fspath(path), f"{os.sep}{self.id}"
        if text == self.id:
            _input.__set__(self, "")
        else:
            below = len(text) > len(end) and text.endswith(end)
            _input.__set__(self, sys.intern(text[: -len(end)]) if below else path)

    input = property(_path, _hold)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Example) and _fields(self) == _fields(other)

    __hash__ = Example.__hash__


def held(example: Example, labels: dict[Any, Any]) -> Example:
    """Return a copy that shares what it has in common with others; ``labels`` are those of the examples before it."""
    label = example.label
    if isinstance(label, str):
        label = labels.setdefault(label, label) if len(labels) < MOST_LABELS else labels.get(label, label)
    kind = FileExample if isinstance(example.input, Path) else Example
    return kind(example.id, example.input, label, example.split, example.group, example.columns or _no_columns)


def place(example: Example, split: str) -> None:
    """Set the split of a copy that ``held`` returned, of which nobody else knows yet: making another takes longer."""
    object.__setattr__(example, "split", split)


def _fields(example: Example) -> tuple[Any, ...]:
    return tuple(getattr(example, name) for name in Example.__dataclass_fields__)
