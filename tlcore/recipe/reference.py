"""The reference of a recipe's keys, as Markdown: docs/recipe.md and `tl recipe docs`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tlcore.plugins.registry import Registry
from tlcore.recipe.choices import available, chosen_by, keys_beside
from tlcore.recipe.keys import Key, keys_of, type_in_words, with_nested
from tlcore.recipe.sections import PLAIN_SECTIONS, HoldoutSection, Recipe, TrainSection
from tlcore.recipe.writing import plain_value

__all__ = ["default_in_words", "recipe_reference"]

_INTRODUCTION = """\
# The keys of a recipe

Made by `tl recipe docs` from what is installed; `tl recipe schema` prints the same as JSON Schema for an editor.

A recipe is one YAML file. Every key is known: an unknown one, a value of the wrong type and a key given twice are
faults, and `tl recipe check FILE` lists all of them with line and nearest right name. A section that only needs a name
may be written as that name: `backbone: vgg16` is `backbone: {name: vgg16}`, `data: drawn-vehicles` is
`data: {source: drawn-vehicles}`. The options of what is named stand beside its name. Paths are relative to the folder
in which `tl` is started; `~` is the home folder.

On the command line, `--set train.epochs=3` sets one key and `--set 'data={source: table, path: reviews.csv}'` a whole
section.
"""

_SECTIONS = (
    ("task", "task", "What is predicted and how it is scored."),
    ("data", "data", "Where the examples come from."),
    ("backbone", "backbone", "The pre-trained network."),
    ("adapter", "adapter", "What is trained and what stays frozen."),
)
_TRAINED_BY = (("train.optimizer", "optimizer"), ("train.scheduler", "scheduler"))


def recipe_reference(registry: Registry) -> str:
    """Return the reference of every key that these plugins give a recipe."""
    parts = [_INTRODUCTION, "## The top of the recipe\n", _table(keys_of(Recipe))]
    for name, kind, summary in _SECTIONS:
        parts.append(f"## {name}\n\n{summary}\n")
        if keys_beside(kind):
            parts += ["For every source:\n", _table(keys_beside(kind))]
            parts += [
                f"### {name}.holdout\n\n{HoldoutSection.__doc__}".replace("\n    ", "\n"),
                _table(keys_of(HoldoutSection)),
            ]
        parts += _choices(name, kind, registry)
    for name, cls in PLAIN_SECTIONS.items():
        parts += [f"## {name}\n\n{cls.__doc__}\n", _table(keys_of(cls))]
        if cls is TrainSection:
            for choice, kind in _TRAINED_BY:
                parts += _choices(choice, kind, registry)
    return "\n".join(parts)


def default_in_words(key: Key) -> str:
    """Return a key's default as a recipe would write it; a key without one is required."""
    if key.required:
        return "required"
    default = plain_value(key.default)
    if isinstance(default, dict):
        return "its defaults"
    return default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)


def _choices(section: str, kind: str, registry: Registry) -> list[str]:
    parts = []
    for name, chosen in available(kind, registry).items():
        summary = chosen.spec.summary if chosen.spec is not None else (chosen.options.__doc__ or "").strip()
        parts.append(f"### {section}: {{{chosen_by(kind)}: {name}}}\n\n{summary}\n")
        parts.append(_table(with_nested(chosen.keys)) if chosen.keys else "No options.\n")
    return parts


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | type | default | |", "| --- | --- | --- | --- |"]
    for key in keys:
        default = f"`{default_in_words(key)}`" if not key.required else "required"
        cells = [f"`{key.name}`", type_in_words(key), default, key.help]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"
