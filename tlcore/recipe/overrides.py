"""``--set key.path=value``: one key, or a whole section, given on the command line."""

from __future__ import annotations

import re

from tlcore.errors import RecipeError, RecipeFault
from tlcore.recipe.document import Entry, Node, Scalar, Section, parse_document, shown
from tlcore.redaction import looks_secret

__all__ = ["apply_override", "opened"]

CHOICE_KEYS = {
    "task": "name",
    "data": "source",
    "backbone": "name",
    "adapter": "name",
    "train.optimizer": "name",
    "train.scheduler": "name",
}
"""The sections that may be given as a bare name, and the key that the name stands for."""


def opened(section: str, node: Node) -> Node:
    """Return a section that may be a bare name (``backbone: vgg16``) in its long form, anything else as it is."""
    if isinstance(node, Scalar) and not node.is_null and section in CHOICE_KEYS:
        return Section({CHOICE_KEYS[section]: Entry(node.at, node)}, node.at)
    return node


def apply_override(root: Section, override: str, faults: list[RecipeFault]) -> None:
    """Set one key in the tree; whether the recipe knows such a key is seen when the tree is read."""
    path, equals, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    # A value that is a section of its own may have a secret anywhere in it.
    secret = (
        any(looks_secret(word, "token") for word in re.split(r"[\s{},]+", text))
        if text.lstrip().startswith(("{", "["))
        else looks_secret(text, keys[-1])
    )
    told = f"{path}=***" if secret else override
    at = f"--set {told if len(told) <= 80 else told[:77] + '...'}"
    if not equals or not all(keys):
        faults.append(RecipeFault(at, "this is no key=value", "write it as --set train.epochs=3"))
        return
    try:
        value = parse_document(text, lambda line, column: at, faults, keys[-1]) or Scalar("", True, at)
    except RecipeError as error:
        faults.extend(error.faults)
        return
    section = root
    for depth, key in enumerate(keys[:-1], start=1):
        name = ".".join(keys[:depth])
        entry = section.entries.setdefault(key, Entry(at, Section({}, at)))
        entry.value = opened(name, entry.value)
        if isinstance(entry.value, Scalar) and entry.value.is_null:
            entry.value = Section({}, at)
        if not isinstance(entry.value, Section):
            faults.append(RecipeFault(at, f"{name} is {shown(entry.value)} and has no keys"))
            return
        section = entry.value
    section.entries[keys[-1]] = Entry(at, value)
