"""The keys that an options class declares, with their types in words that people read."""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

__all__ = ["LIMITS", "Key", "keys_of", "members_of", "type_in_words", "with_nested"]

LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str, str]] = {
    "ge": (operator.ge, ">=", "minimum"),
    "gt": (operator.gt, ">", "exclusiveMinimum"),
    "le": (operator.le, "<=", "maximum"),
    "lt": (operator.lt, "<", "exclusiveMaximum"),
}
"""Each limit of ``tlcore.option``: how it is tested, written, and called in JSON Schema."""

_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    types.NoneType: "null",
}


@dataclass(frozen=True)
class Key:
    """One key of a section; ``kind`` is set where its value is a choice among named things."""

    name: str
    type: Any
    default: Any
    help: str
    limits: Mapping[str, float]
    kind: str | None

    @property
    def required(self) -> bool:
        """Whether a recipe must give it."""
        return self.default is MISSING


@functools.cache
def keys_of(options: type) -> tuple[Key, ...]:
    """Return the keys of an options class, in the order of its fields.

    Raises:
        TypeError: an annotation that a recipe cannot be read into.
        NameError: an annotation whose name is not there when the class is used.
    """
    hints = typing.get_type_hints(options)
    keys = []
    for field in dataclasses.fields(options):
        if not field.init:
            continue
        default = field.default if field.default_factory is MISSING else field.default_factory()
        limits = {name: field.metadata[name] for name in LIMITS if name in field.metadata}
        key = Key(
            field.name, hints[field.name], default, field.metadata.get("help", ""), limits, field.metadata.get("kind")
        )
        if key.kind is None:
            _check_type(key.type, f"{options.__name__}.{field.name}")
        keys.append(key)
    return tuple(keys)


def with_nested(keys: Iterable[Key]) -> Iterator[Key]:
    """Yield each key, and after one that holds a section the keys inside it, under names such as ``augment.crop``."""
    for key in keys:
        yield key
        if key.kind is None:
            for member in members_of(key.type):
                if isinstance(member, type) and dataclasses.is_dataclass(member):
                    inner = with_nested(keys_of(member))
                    yield from (dataclasses.replace(one, name=f"{key.name}.{one.name}") for one in inner)


def members_of(wanted: Any) -> tuple[Any, ...]:
    """Return the members of a union; any other type is its own only member."""
    return get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)


def type_in_words(key: Key) -> str:
    """Return what may stand for a key, such as ``whole number >= 1``."""
    if key.kind is not None:
        return "name, or section"
    return _in_words(key.type, _limits_in_words(key.limits))


def _limits_in_words(limits: Mapping[str, float]) -> str:
    return " and".join(f" {LIMITS[name][1]} {value:g}" for name, value in limits.items())


def _in_words(wanted: Any, limits: str) -> str:
    words = [word for member in members_of(wanted) for word in _member_in_words(member, limits)]
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 2 else words)


def _member_in_words(member: Any, limits: str) -> list[str]:
    if get_origin(member) is Literal:
        return ["null" if value is None else str(value) for value in get_args(member)]
    if get_origin(member) is tuple:
        return [f"list of {_in_words(get_args(member)[0], limits)}"]
    if get_origin(member) is dict:
        return [f"section of {_in_words(get_args(member)[1], limits)}"]
    word = _WORDS.get(member, "section")
    return [word + limits if member in (int, float) else word]


def _check_type(wanted: Any, owner: str) -> None:
    for member in members_of(wanted):
        arguments = get_args(member)
        if member in _WORDS or get_origin(member) is Literal:
            continue
        if get_origin(member) is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            _check_type(arguments[0], owner)
        elif get_origin(member) is dict and arguments[0] is str:
            _check_type(arguments[1], owner)
        elif isinstance(member, type) and dataclasses.is_dataclass(member):
            keys_of(member)
        else:
            raise TypeError(f"{owner} is annotated {member!r}, which a recipe cannot be read into")
