"""A Recipe written out in full, so that reading it again gives the same run."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tlcore.recipe.choices import chosen_by
from tlcore.recipe.keys import keys_of
from tlcore.recipe.sections import Choice, DataSection, Recipe, TrainSection

__all__ = ["plain", "plain_value", "recipe_yaml"]


def plain(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as JSON-able values: every key with its value, full names, absolute paths."""
    return _section(recipe)


def recipe_yaml(recipe: Recipe) -> str:
    """Return a recipe as YAML that reads back to an equal one."""
    return yaml.dump(plain(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)


def plain_value(value: Any) -> Any:
    """Return one value of a recipe as JSON can hold it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Choice):
        return value.name
    if isinstance(value, (DataSection, TrainSection)):
        return _section(value)
    if isinstance(value, tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_value(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key.name: plain_value(getattr(value, key.name)) for key in keys_of(type(value))}
    return value


def _section(section: Recipe | DataSection | TrainSection) -> dict[str, Any]:
    values: dict[str, Any] = {}
    cls: type = type(section)
    for key in keys_of(cls):
        value = getattr(section, key.name)
        if isinstance(value, Choice):
            chosen = {chosen_by(key.kind or ""): value.name, **plain_value(value.options)}
            # The options of a data source stand in the section data itself, which tlcore shares with it.
            values |= chosen if isinstance(section, DataSection) else {key.name: chosen}
        else:
            values[key.name] = plain_value(value)
    return values


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.2 would take for something else; PyYAML by itself knows 1.1 only."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.Node:
    # Left to itself PyYAML loses some rare characters, such as U+0085, where it writes keys.
    usual = text.isprintable() and all(character <= "\uffff" for character in text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if usual else '"')


_Dumper.add_representer(str, _text)
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"0o[0-7]+$"), ["0"])
