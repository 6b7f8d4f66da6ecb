"""From what is written to a value of the key's type, by the meaning that YAML 1.2 gives it and no other.

A value never changes its meaning silently: `012`, `1_000` and `1:30`, which YAML 1.1 reads as 10, 1000 and 90, are
faults where a number is expected, and only `true` and `false` are truth values.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from tlcore.errors import RecipeFault, TLError, nearest
from tlcore.recipe.document import Listing, Node, Scalar, Section, shown
from tlcore.recipe.keys import LIMITS, Key, keys_of, members_of, type_in_words

__all__ = ["WRONG", "built", "read_keys", "unknown_keys"]

WRONG: Final = object()
"""Stands for a value whose fault has been noted."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.?(inf|infinity|nan)", re.IGNORECASE)
_NUMBER_TO_SOME = re.compile(r"[-+]?[0-9][0-9_:.,]*|[-+]?\.(inf|nan)", re.IGNORECASE)
"""What another reader of YAML, or a person, would take for a number."""

_NO: Final = object()


def read_keys(section: Section, keys: Iterable[Key], name: str, faults: list[RecipeFault]) -> dict[str, Any]:
    """Return the value of each key that stands in a section, WRONG for a faulty one; absent keys are left out.

    A required key that is absent is a fault.
    """
    values: dict[str, Any] = {}
    for key in keys:
        full_name = f"{name}.{key.name}" if name else key.name
        if key.name in section.entries:
            values[key.name] = _value(section.entries[key.name].value, key, full_name, faults)
        elif key.required:
            faults.append(RecipeFault(section.at, f"{full_name} is missing", _explained(key)))
            values[key.name] = WRONG
    return values


def unknown_keys(
    section: Section, known: Collection[str], name: str, faults: list[RecipeFault], homes: Mapping[str, str]
) -> None:
    """Note each key of a section that is not known; ``homes`` says where keys of other sections belong."""
    for word, entry in section.entries.items():
        if word in known:
            continue
        meant = nearest(word, known)
        hint: str | None
        if meant is None and word in homes:
            hint = f"it belongs to {homes[word]}"
        elif meant is not None:
            hint = f"did you mean {meant!r}?"
        else:
            hint = f"known: {', '.join(known)}" if known else None
        where = f" in {name}" if name else ""
        faults.append(RecipeFault(entry.at, f"unknown key {word!r}{where}", hint))


def built(options: type, values: Mapping[str, Any], at: str, name: str, faults: list[RecipeFault]) -> Any:
    """Return an instance of an options class, or WRONG if one of its values is, or if the class refuses them."""
    if any(value is WRONG for value in values.values()):
        return WRONG
    try:
        return options(**values)
    except TLError as error:
        faults.append(RecipeFault(at, f"{name}: {error.what}", error.hint or error.where))
    except ValueError as error:
        faults.append(RecipeFault(at, f"{name}: {error}"))
    return WRONG


def _value(node: Node, key: Key, name: str, faults: list[RecipeFault]) -> Any:
    """Return the value of one key; of a union, the member that the writing fits."""
    members = members_of(key.type)
    if isinstance(node, Scalar):
        return _scalar(node, key, members, name, faults)
    if isinstance(node, Listing):
        for member in members:
            if get_origin(member) is tuple:
                inner = dataclasses.replace(key, type=get_args(member)[0])
                return _all_right(
                    tuple(_value(item, inner, f"{name}[{n}]", faults) for n, item in enumerate(node.items))
                )
    else:
        for member in members:
            if get_origin(member) is dict:
                inner = dataclasses.replace(key, type=get_args(member)[1])
                pairs = {
                    word: _value(entry.value, inner, f"{name}.{word}", faults) for word, entry in node.entries.items()
                }
                return pairs if _all_right(tuple(pairs.values())) is not WRONG else WRONG
        options = _options_among(members)
        if options is not None:
            return _nested(node, options, name, faults)
    faults.append(RecipeFault(node.at, f"{name}: expected {type_in_words(key)}, got {shown(node)}"))
    return WRONG


def _nested(node: Section, options: type, name: str, faults: list[RecipeFault]) -> Any:
    keys = keys_of(options)
    unknown_keys(node, [key.name for key in keys], name, faults, {})
    return built(options, read_keys(node, keys, name, faults), node.at, name, faults)


def _options_among(members: tuple[Any, ...]) -> type | None:
    return next((one for one in members if isinstance(one, type) and dataclasses.is_dataclass(one)), None)


def _all_right(values: tuple[Any, ...]) -> Any:
    return WRONG if any(value is WRONG for value in values) else values


def _scalar(node: Scalar, key: Key, members: tuple[Any, ...], name: str, faults: list[RecipeFault]) -> Any:
    for reading in _readings(node, members):
        if reading is not _NO:
            return _within_limits(reading, node, key, name, faults)
    options = _options_among(members)
    if node.is_null and options is not None:
        return _nested(Section({}, node.at), options, name, faults)
    fault = f"{name}: expected {type_in_words(key)}, got {shown(node)}"
    faults.append(RecipeFault(node.at, fault, _advice(node, members)))
    return WRONG


def _readings(node: Scalar, members: tuple[Any, ...]) -> Iterable[Any]:
    """Yield what a scalar means as each member of a union, the narrowest first."""
    if types.NoneType in members and node.is_null:
        yield None
    for member in members:
        if get_origin(member) is Literal:
            yield from (value for value in get_args(member) if _is_literally(node, value))
    numbers = bool in members or int in members or float in members
    if node.plain:
        yield _truth(node.text) if bool in members else _NO
        yield _integer(node.text) if int in members else _NO
        yield _real(node.text) if float in members else _NO
    if node.is_null or (numbers and node.plain and _NUMBER_TO_SOME.fullmatch(node.text)):
        return
    if Path in members:
        yield _path(node.text, or_text=str in members)
    if str in members:
        yield node.text


def _is_literally(node: Scalar, value: Any) -> bool:
    if isinstance(value, str):
        return node.text == value and not (node.plain and node.text in ("", "~"))
    readings = _readings(node, (type(value),))
    return any(reading == value for reading in readings if reading is not _NO)


def _truth(text: str) -> Any:
    return {"true": True, "false": False}.get(text, _NO)


def _integer(text: str) -> Any:
    if _INT.fullmatch(text) is None or len(text) > 25:
        return _NO
    value = int(text, 0)
    return value if -(2**63) <= value < 2**63 else _NO


def _real(text: str) -> Any:
    if _FLOAT.fullmatch(text) is None:
        return _NO
    value = float(text)
    return value if math.isfinite(value) else _NO


def _path(text: str, *, or_text: bool) -> Any:
    if not text or "\0" in text:
        return _NO
    path = Path(text)
    try:
        if or_text and not (path.is_absolute() or text.startswith(("./", "../", "/", "~")) or text in (".", "..")):
            # A folder here wins over a name elsewhere; anything else stays a name.
            return path.absolute() if path.exists() else _NO
        return path.expanduser().absolute()
    except (OSError, RuntimeError):  # a name too long for a file system; no such user
        return _NO


def _within_limits(value: Any, node: Scalar, key: Key, name: str, faults: list[RecipeFault]) -> Any:
    if isinstance(value, Path) and any("\ud800" <= letter <= "\udfff" for letter in str(value)):
        # It could be read, but neither written into the run's recipe nor found from there again.
        fault = f"{name}: {value} is not valid Unicode"
        faults.append(RecipeFault(node.at, fault, "rename that folder, or set LC_ALL=C.UTF-8 if its name is in UTF-8"))
        return WRONG
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for limit, bound in key.limits.items():
            holds, _, _ = LIMITS[limit]
            if not holds(value, bound):
                faults.append(RecipeFault(node.at, f"{name}: expected {type_in_words(key)}, got {shown(node)}"))
                return WRONG
    return value


def _explained(key: Key) -> str:
    return f"{key.name}: {type_in_words(key)}. {key.help}".rstrip(". ") + "."


def _advice(node: Scalar, members: tuple[Any, ...]) -> str | None:
    """Return what to write instead, where the usual slip can be told."""
    words = [value for member in members if get_origin(member) is Literal for value in get_args(member)]
    numeric = int in members or float in members
    bare = Scalar(node.text, True, node.at)
    if not node.plain and (numeric or bool in members) and any(r not in (_NO, None) for r in _readings(bare, members)):
        return "write it without quotes"
    if numeric and _NOT_FINITE.fullmatch(node.text):
        return "a number here is finite"
    if int in members and _real(node.text) is not _NO:
        return "write a whole number, without point or exponent, of at most 18 digits"
    if numeric and _NUMBER_TO_SOME.fullmatch(node.text):
        return "write a number in digits: no leading zero, no underscore, no colon, no comma"
    if bool in members and not words:
        return "write true or false"
    meant = nearest(node.text, [word for word in words if isinstance(word, str)])
    return f"did you mean {meant!r}?" if meant else None
