"""The recipe as JSON Schema 2020-12, so that an editor completes and checks it while it is written."""

from __future__ import annotations

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from tlcore.plugins.registry import Registry
from tlcore.recipe.choices import available, chosen_by, keys_beside
from tlcore.recipe.keys import LIMITS, Key, keys_of, members_of
from tlcore.recipe.sections import DataSection, Recipe
from tlcore.recipe.writing import plain_value

__all__ = ["recipe_schema", "schema_of_keys"]

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string", types.NoneType: "null"}


def recipe_schema(registry: Registry) -> dict[str, Any]:
    """Return the schema of every recipe that these plugins can run."""
    schema = schema_of_keys(keys_of(Recipe), registry)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tlcore recipe",
        "description": "A run of transfer learning: what is predicted, from which data, on which network, and how.",
        **schema,
    }


def schema_of_keys(keys: Iterable[Key], registry: Registry | None = None) -> dict[str, Any]:
    """Return the schema of a section; the registry is needed where one of its keys is a choice."""
    keys = list(keys)
    return {
        "type": "object",
        "properties": {key.name: _key(key, registry) for key in keys},
        "required": [key.name for key in keys if key.required],
        "additionalProperties": False,
    }


def _key(key: Key, registry: Registry | None) -> dict[str, Any]:
    if registry is not None and (key.kind is not None or key.type is DataSection):
        schema = _choice(key, key.kind or "data", registry)
    else:
        members = [_member(member, key, registry) for member in members_of(key.type)]
        schema = members[0] if len(members) == 1 else {"anyOf": members}
    described = {"description": key.help} | schema
    return described if key.required else described | {"default": plain_value(key.default)}


def _member(member: Any, key: Key, registry: Registry | None) -> dict[str, Any]:
    if get_origin(member) is Literal:
        return {"enum": list(get_args(member))}
    if get_origin(member) is tuple:
        return {"type": "array", "items": _inner(get_args(member)[0], key, registry)}
    if get_origin(member) is dict:
        return {"type": "object", "additionalProperties": _inner(get_args(member)[1], key, registry)}
    if member in (int, float):
        limits = {LIMITS[name][2]: bound for name, bound in key.limits.items()}
        return {"type": _TYPES[member], **limits}
    if member in _TYPES:
        return {"type": _TYPES[member]}
    return schema_of_keys(keys_of(member), registry)


def _inner(wanted: Any, key: Key, registry: Registry | None) -> dict[str, Any]:
    members = [_member(member, key, registry) for member in members_of(wanted)]
    return members[0] if len(members) == 1 else {"anyOf": members}


def _choice(key: Key, kind: str, registry: Registry) -> dict[str, Any]:
    """Return one branch for each thing that can be chosen, and one for the bare names of those that need no more."""
    default = None if key.required or key.kind is None else key.default.name
    bare: list[str] = []
    branches: list[dict[str, Any]] = []
    for name, chosen in available(kind, registry).items():
        names = list(dict.fromkeys((name, chosen.name)))
        summary = chosen.spec.summary if chosen.spec is not None else (chosen.options.__doc__ or "").strip()
        branch = schema_of_keys((*chosen.keys, *keys_beside(kind)), registry)
        word = {"const": names[0]} if len(names) == 1 else {"enum": names}
        branch["properties"] = {chosen_by(kind): {"description": summary, **word}, **branch["properties"]}
        if name != default:
            branch["required"] = [chosen_by(kind), *branch["required"]]
        branches.append({"title": name, "description": summary, **branch})
        bare += names if not any(option.required for option in chosen.keys) else []
    return {"oneOf": [{"enum": bare}, *branches] if bare else branches}
