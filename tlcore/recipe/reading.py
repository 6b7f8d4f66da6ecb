"""From a recipe's text to a Recipe, or to all that is wrong with it at once."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tlcore.errors import PluginError, RecipeError, RecipeFault, UsageError, nearest_file
from tlcore.plugins.registry import KIND_WORDS, Registry
from tlcore.recipe.choices import OWN_CHOICES, Chosen, choose, chosen_by, keys_beside
from tlcore.recipe.document import MAX_BYTES, Node, Scalar, Section, parse_document, shown
from tlcore.recipe.keys import Key, keys_of
from tlcore.recipe.overrides import apply_override, opened
from tlcore.recipe.sections import PLAIN_SECTIONS, Choice, DataSection, HoldoutSection, Recipe
from tlcore.recipe.values import WRONG, built, read_keys, unknown_keys
from tlcore.specs import ANY_MODALITY

__all__ = ["key_places", "parse_recipe", "read_choice", "read_data_section", "read_recipe"]


def read_recipe(path: Path, registry: Registry, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe's file; ``overrides`` are texts such as ``train.epochs=3``, applied in their order.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        RecipeError: all that is wrong with the recipe.
        PluginError: a plugin that the recipe names does not work.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise UsageError(f"the recipe {path} is no file but a pipe or a device", hint="give a YAML file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        _refuse_missing(path)
    except OSError as error:
        raise UsageError(f"the recipe {path} cannot be read: {error.strerror}", hint="give a YAML file") from error
    try:
        # Cutting a character in two must not hide that the file is too large.
        text = content.decode("utf-8-sig", "ignore" if len(content) > MAX_BYTES else "strict")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(
            [RecipeFault(f"{path}:{line}", "this is not UTF-8 text", "save the file as UTF-8")]
        ) from error
    if len(content) > MAX_BYTES:
        text += " " * MAX_BYTES
    return parse_recipe(text, registry, file=str(path), name=path.stem, overrides=overrides)


def parse_recipe(text: str, registry: Registry, *, file: str, name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe's text; ``file`` is what messages call it, ``name`` the recipe's name unless the text gives one.

    Raises:
        RecipeError: all that is wrong with the recipe.
        PluginError: a plugin that the recipe names does not work.
    """
    faults: list[RecipeFault] = []
    root = parse_document(text, lambda line, column: f"{file}:{line}:{column}", faults)
    if root is None or (isinstance(root, Scalar) and root.is_null):
        raise RecipeError(
            [RecipeFault(f"{file}:1:1", "the recipe is empty", "it needs task, data, backbone and adapter")]
        )
    if not isinstance(root, Section):
        fault = RecipeFault(root.at, f"a recipe is a section of keys, got {shown(root)}", "begin with `task: ...`")
        raise RecipeError([fault])
    for override in overrides:
        apply_override(root, override, faults)
    return _Reader(registry, faults).recipe(root, name, file)


def read_data_section(section: Mapping[str, Any], registry: Registry, overrides: Sequence[str] = ()) -> DataSection:
    """Read the section ``data`` by itself, given as plain values; ``overrides`` are texts such as ``data.limit=3``.

    Raises:
        RecipeError: all that is wrong with it.
        PluginError: the plugin of its source does not work.
    """
    faults: list[RecipeFault] = []
    root = parse_document(json.dumps({"data": dict(section)}), lambda line, column: "data", faults)
    assert isinstance(root, Section), "a mapping is written as a section"
    for override in overrides:
        apply_override(root, override, faults)
    return _Reader(registry, faults).data(root)


def read_choice(kind: str, name: str, options: Mapping[str, Any], registry: Registry, *, file: str) -> Choice:
    """Read a task, a backbone or an adapter by itself, its options given as plain values.

    Raises:
        RecipeError: no such thing, or options that it does not take; ``file`` is what messages call their place.
        PluginError: its plugin is absent or does not work.
    """
    faults: list[RecipeFault] = []
    root = parse_document(json.dumps({**options, chosen_by(kind): name}), lambda line, column: file, faults)
    assert isinstance(root, Section), "a mapping is written as a section"
    return _Reader(registry, faults).choice(root, kind)


def key_places(path: Path, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Return where each key of a recipe that can be read stands, such as ``data.path``: file, line and column."""
    places = {"": str(path)}
    root = parse_document(path.read_text("utf-8-sig"), lambda line, column: f"{path}:{line}:{column}", [])
    assert isinstance(root, Section), "it was read before"
    for override in overrides:
        apply_override(root, override, [])
    left: list[tuple[str, Section]] = [("", root)]
    while left:
        front, section = left.pop()
        for word, entry in section.entries.items():
            places[front + word] = entry.value.at
            if isinstance(entry.value, Section):
                left.append((f"{front}{word}.", entry.value))
    return places


def _refuse_missing(path: Path) -> NoReturn:
    try:
        names = [name for name in os.listdir(path.parent) if name.endswith((".yaml", ".yml"))]
    except OSError:
        raise UsageError(f"there is no recipe {path}", hint=f"there is no folder {path.parent}") from None
    meant = nearest_file(path.name, names)
    if meant:
        hint = f"did you mean {path.parent / meant}?"
    else:
        hint = f"recipes there: {', '.join(sorted(names)[:8])}" if names else f"{path.parent} holds no .yaml file"
    raise UsageError(f"there is no recipe {path}", hint=hint)


def _homes() -> dict[str, str]:
    """Return the section to which each of tlcore's own keys belongs, for keys that stand in a wrong one."""
    sections = {**PLAIN_SECTIONS, "data": DataSection}
    homes = {key.name: "data.holdout" for key in keys_of(HoldoutSection)}
    for kind, own in OWN_CHOICES.items():
        keys = {name: {key.name for key in keys_of(cls)} for name, cls in own.items()}
        for word in set().union(*keys.values()):
            owners = [f"{{name: {name}}}" for name in own if word in keys[name]]
            homes[word] = f"train.{kind}" if len(owners) == len(own) else f"train.{kind}: {' or '.join(owners)}"
    homes |= {key.name: section for section, cls in sections.items() for key in keys_of(cls)}
    return homes | {key.name: "the top of the recipe" for key in keys_of(Recipe)}


def _position(fault: RecipeFault) -> tuple[int, ...]:
    """Return the line and column of a fault, to report faults from top to bottom; what has none comes last."""
    found = re.search(r":(\d+):(\d+)$", fault.where)
    return tuple(int(number) for number in found.groups()) if found else (sys.maxsize,)


class _Reader:
    """Reads the sections of one recipe and keeps everything that is wrong with them."""

    def __init__(self, registry: Registry, faults: list[RecipeFault]) -> None:
        self.registry = registry
        self.faults = faults
        self.plugin_errors: list[tuple[str, PluginError]] = []
        self.homes = _homes()

    def recipe(self, root: Section, name: str, file: str) -> Recipe:
        """Read the whole tree.

        Raises:
            RecipeError: anything in it is wrong.
            PluginError: a plugin that it names does not work.
        """
        keys = {key.name: key for key in keys_of(Recipe)}
        unknown_keys(root, list(keys), "", self.faults, self.homes)
        values: dict[str, Any] = {"name": name}
        values |= read_keys(root, [keys["name"], keys["track"], keys["seed"]], "", self.faults)
        for word in ("task", "backbone", "adapter"):
            values[word] = self._choice(root, keys[word], word)
        values["data"] = self._data(root, keys["data"])
        for word, cls in PLAIN_SECTIONS.items():
            if word in root.entries:
                values[word] = self._section(root.entries[word].value, cls, word)
        self._check_name(values["name"], root, file)
        self._check_modalities(root, values)
        recipe = built(Recipe, values, root.at, "recipe", self.faults)
        self._raise({word: value for word, value in values.items() if value is not WRONG})
        return recipe

    def data(self, root: Section) -> DataSection:
        """Read the section data alone.

        Raises:
            RecipeError: anything in it is wrong.
            PluginError: a plugin that it names does not work.
        """
        section: DataSection = self._data(root, next(key for key in keys_of(Recipe) if key.name == "data"))
        self._raise({})
        return section

    def choice(self, root: Section, kind: str) -> Choice:
        """Read one section that chooses among what plugins offer.

        Raises:
            RecipeError: anything in it is wrong.
            PluginError: the plugin that it names does not work.
        """
        chosen: Choice = self._chosen(root, kind, kind)[0]
        self._raise({})
        return chosen

    def _raise(self, readable: Mapping[str, Any]) -> None:
        if self.plugin_errors:
            at, error = self.plugin_errors[0]
            others = [f"{place}: {other.what}" for place, other in self.plugin_errors[1:]]
            where = [f"{at}: {error.where or 'named here'}", *others, *map(str, self.faults)]
            raise PluginError(error.what, where="\n".join(where), hint=error.hint) from error
        if self.faults:
            next_step = "`tl recipe docs` explains every key, `tl show backbone vgg16` those of one thing"
            raise RecipeError(sorted(self.faults, key=_position), next_step, readable)

    def _section(self, node: Node, cls: type, name: str) -> Any:
        """Read a section with fixed keys, some of which may be choices."""
        section = self._as_section(node, name)
        if section is None:
            return WRONG
        keys = keys_of(cls)
        unknown_keys(section, [key.name for key in keys], name, self.faults, self.homes)
        values = read_keys(section, [key for key in keys if key.kind is None], name, self.faults)
        for key in keys:
            if key.kind is not None and key.name in section.entries:
                values[key.name] = self._choice(section, key, f"{name}.{key.name}")
        return built(cls, values, section.at, name, self.faults)

    def _as_section(self, node: Node, name: str) -> Section | None:
        if isinstance(node, Scalar) and node.is_null:
            return Section({}, node.at)
        if isinstance(node, Section):
            return node
        self.faults.append(RecipeFault(node.at, f"{name}: expected a section of keys, got {shown(node)}"))
        return None

    def _choice(self, parent: Section, key: Key, name: str) -> Any:
        """Read a section that chooses a named thing and gives its options."""
        entry = parent.entries.get(key.name)
        if entry is None:
            self.faults.append(RecipeFault(parent.at, f"{name} is missing", self._known(key.kind or "")))
            return WRONG
        section = self._as_section(opened(name, entry.value), name)
        if section is None:
            return WRONG
        default = None if key.required else key.default.name
        return self._chosen(section, key.kind or "", name, default)[0]

    def _chosen(self, section: Section, kind: str, name: str, default: str | None = None) -> tuple[Any, dict[str, Any]]:
        """Read the choice of a section, and the values of tlcore's own keys beside its options."""
        beside = keys_beside(kind)
        own = read_keys(section, beside, name, self.faults)
        chosen = self._looked_up(section, kind, name, default)
        if chosen is None:
            return WRONG, own
        known = [chosen_by(kind), *(key.name for key in (*chosen.keys, *beside))]
        unknown_keys(section, known, f"{name} {chosen.name}", self.faults, self.homes)
        values = read_keys(section, chosen.keys, name, self.faults)
        try:
            options = built(chosen.options, values, section.at, name, self.faults)
        except Exception as error:
            if chosen.spec is None:
                raise
            reason = f"{type(error).__name__}: {error}"
            broken = PluginError(f"the options of {kind} {chosen.name} cannot be made", where=reason)
            broken.__cause__ = error
            self.plugin_errors.append((section.at, broken))
            return WRONG, own
        return (WRONG if options is WRONG else Choice(chosen.name, options, chosen.spec)), own

    def _looked_up(self, section: Section, kind: str, name: str, default: str | None) -> Chosen | None:
        word = chosen_by(kind)
        entry = section.entries.get(word)
        if entry is None and default is None:
            self.faults.append(RecipeFault(section.at, f"{name}.{word} is missing", self._known(kind)))
            return None
        value: Node = entry.value if entry is not None else Scalar(default or "", True, section.at)
        if not isinstance(value, Scalar) or value.is_null:
            self.faults.append(
                RecipeFault(value.at, f"{name}.{word}: expected a name, got {shown(value)}", self._known(kind))
            )
            return None
        try:
            return choose(kind, value.text, self.registry)
        except PluginError as error:
            self.plugin_errors.append((value.at, error))
        except UsageError as error:
            self.faults.append(RecipeFault(value.at, f"{name}: {error.what}", error.hint))
        return None

    def _known(self, kind: str) -> str:
        names = list(OWN_CHOICES.get(kind, {})) or [offer.name for offer in self.registry.offers(kind)]
        return f"known: {', '.join(sorted(set(names))) or 'none'}"

    def _data(self, root: Section, key: Key) -> Any:
        entry = root.entries.get("data")
        if entry is None:
            self.faults.append(RecipeFault(root.at, "data is missing", self._known("data")))
            return WRONG
        section = self._as_section(opened("data", entry.value), "data")
        if section is None:
            return WRONG
        source, own = self._chosen(section, "data", "data")
        return built(DataSection, own | {"source": source}, section.at, "data", self.faults)

    def _check_name(self, name: Any, root: Section, file: str) -> None:
        if name is WRONG:
            return
        at = root.entries["name"].value.at if "name" in root.entries else file
        bad = [character for character in name if character in '/\\<>:"|?*' or not character.isprintable()]
        if (
            not name
            or name != name.strip()
            or name.startswith(".")
            or len(name.encode("utf-8", "surrogatepass")) > 200
            or bad
        ):
            hint = "give the recipe a short `name:` without slashes and other signs that folders cannot have"
            self.faults.append(RecipeFault(at, f"the name {name!r} cannot be a folder's name", hint))

    def _check_modalities(self, root: Section, values: dict[str, Any]) -> None:
        """Task, backbone and data must be about the same kind of input; the first that says so is the measure."""
        measure: tuple[str, str, str] | None = None
        for word in ("task", "backbone", "data"):
            choice = getattr(values[word], "source", values[word])
            if not isinstance(choice, Choice) or choice.spec.modality == ANY_MODALITY:
                continue
            modality = choice.spec.modality
            if measure is None:
                measure = (word, choice.name, modality)
            elif modality != measure[2]:
                what = f"{KIND_WORDS[word]} {choice.name} is for {modality}, {measure[0]} {measure[1]} for {measure[2]}"
                offers = self.registry.offers(word)
                fitting = [offer.name for offer in offers if offer.modality in (measure[2], ANY_MODALITY)]
                hint = f"for {measure[2]}: {', '.join(sorted(fitting)) or 'none is installed'}"
                self.faults.append(RecipeFault(root.entries[word].value.at, what, hint))
