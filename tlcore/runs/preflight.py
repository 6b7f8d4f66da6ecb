"""What can be found wrong with a valid recipe without training: its files, its columns, its weights, the disk."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.errors import (
    PluginError,
    RecipeError,
    ResourceError,
    TLError,
    UnreadableError,
    UsageError,
    WeightsError,
    nearest_file,
)
from tlcore.files.run_folder import is_writable
from tlcore.minimum_versions import require_floors
from tlcore.notes import noted
from tlcore.recipe import Choice, Recipe
from tlcore.runs.disk_estimate import run_size

__all__ = ["Fault", "Faults", "faults_among", "faults_of"]

LEAST_FREE = 64 * 2**20
"""Bytes: less than the smallest run leaves."""
KEY = re.compile(r"\b(?:task|data|backbone|adapter|head|train|features|evaluate|track)(?:\.[a-z_]+)+")


@dataclass(frozen=True)
class Fault:
    """One thing that stands in the way, and the key of the recipe that it is about; empty for none."""

    error: TLError
    key: str = ""

    def place(self, places: Mapping[str, str]) -> str | None:
        """Return where the recipe says what is wrong: at the key that the message names, else at the nearest above."""
        named = KEY.findall(f"{self.error.what} {self.error.where or ''}")
        key = next((name for name in named if name.split(".")[0] == self.key.split(".")[0] or not self.key), self.key)
        while key and key not in places:
            key = key.rpartition(".")[0]
        return places.get(key) if key else None


class Faults(TLError):
    """All that is wrong, each with its place in the recipe; the exit code is that of the worst kind, the highest."""

    def __init__(self, faults: Sequence[Fault], places: Mapping[str, str], text: RecipeError | None = None) -> None:
        lines = [str(fault) for fault in text.faults] if text is not None else []
        for fault in faults:
            error, place = fault.error, fault.place(places)
            more = "; ".join(part.replace("\n", " ") for part in (error.where, error.hint) if part)
            lines.append((f"{place}: " if place else "") + error.what + (f" ({more})" if more else ""))
        super().__init__(f"{len(lines)} things stand in the way of this recipe", where="\n".join(lines))
        # A recipe that cannot be read is wrong whatever else is missing.
        self.exit_code = text.exit_code if text else max(fault.error.exit_code for fault in faults)


def faults_of(recipe: Recipe, *, deep: bool = False, notes: list[str] | None = None) -> list[Fault]:
    """Return all that is wrong, without training.

    By itself this looks whether the files are there, reads a local table's columns, and looks at the disk; nothing
    heavy but the data source is imported, and nothing is fetched. ``deep`` reads all examples, builds task, network
    and adapter as a run does, and asks for the device; weights must be on this machine. ``notes`` gets what a run
    would remark.
    """
    found: list[Fault] = []
    with contextlib.redirect_stdout(sys.stderr), noted(notes if notes is not None else []):
        with _kept(found, "tlcore"):
            require_floors()
        found += _absent_paths({word: getattr(recipe, word) for word in ("task", "backbone", "adapter")})
        found += _faults_of_disk(LEAST_FREE)
        if deep:
            absent = {fault.error.where for fault in found}
            found += [
                fault
                for fault in _faults_of_parts(recipe, notes)
                if not fault.error.where or fault.error.where not in absent
            ]
        else:
            found += _faults_of_source(recipe.data.source)
    return found


def faults_among(readable: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with the files of those keys that can be read, of a recipe whose others cannot."""
    with contextlib.redirect_stdout(sys.stderr), noted([]):
        found = [*_absent_paths({word: readable[word] for word in ("task", "backbone", "adapter") if word in readable})]
        if "data" in readable:
            found += _faults_of_source(readable["data"].source)
    return found


def _absent_paths(choices: Mapping[str, Choice]) -> Iterator[Fault]:
    """Yield a fault for each path that task, backbone or adapter are to read and that is not there."""
    for word, choice in choices.items():
        for key, value in vars(choice.options).items():
            if isinstance(value, Path) and not value.exists():
                beside = [one.name for one in value.parent.iterdir()] if value.parent.is_dir() else []
                meant = nearest_file(value.name, beside)
                kind = WeightsError if key == "weights" else UsageError
                hint = f"did you mean {value.parent / meant}?" if meant else f"correct {word}.{key}"
                error = kind(f"{word}.{key}: there is no {value.name}", where=str(value), hint=hint)
                yield Fault(error, f"{word}.{key}")


def _faults_of_source(source: Choice) -> list[Fault]:
    """Read a local data source up to its first example, so far that files and columns must be there."""
    found: list[Fault] = []
    paths = {key: value for key, value in vars(source.options).items() if isinstance(value, Path)}
    if paths:
        with _kept(found, source.name, "data", paths):
            next(iter(source.spec.build(source.options).examples()), None)
    return found


def _faults_of_parts(recipe: Recipe, notes: list[str] | None) -> list[Fault]:
    """Build what a run builds; what does not depend on a part that fails is looked at all the same."""
    from tlcore.randomness import seeded
    from tlcore.runs.components import build_components, build_dataset
    from tlcore.training.device import require_device
    from tlcore.weights.sources import without_network

    found: list[Fault] = []
    dataset = backbone = None
    source = recipe.data.source
    with without_network():
        with _kept(found, "tlcore", "train.device"):
            require_device(recipe.train.device, recipe.train.precision)
        paths = {key: value for key, value in vars(source.options).items() if isinstance(value, Path)}
        with _kept(found, source.name, "data", paths):
            dataset = build_dataset(recipe)
            if notes is not None:
                notes += dataset.notes
        with _kept(found, recipe.backbone.name, "backbone"), seeded(recipe.seed, "backbone"):
            backbone = recipe.backbone.spec.build(recipe.backbone.options, None)
        if dataset is not None and backbone is not None:
            with _kept(found, _all_three(recipe)):
                parts = build_components(recipe, dataset)
                found += _faults_of_disk(run_size(recipe, parts.backbone, parts.plan).needed)
        elif dataset is not None:
            with _kept(found, recipe.task.name, "task"):
                task = recipe.task.spec.build(recipe.task.options)
                task.fit([example.label for example in dataset.split("train")])
        elif backbone is not None:
            with _kept(found, recipe.adapter.name, "adapter"):
                recipe.adapter.spec.build(recipe.adapter.options).plan(backbone, 2)
    return found


def _all_three(recipe: Recipe) -> str:
    chosen: tuple[Choice, ...] = (recipe.task, recipe.backbone, recipe.adapter)
    return " with ".join(choice.name for choice in chosen)


def _faults_of_disk(needed: int) -> list[Fault]:
    """Return what keeps a run from writing below ``runs``; ``needed`` is in bytes."""
    folder = Path("runs").absolute()
    if not is_writable(folder):
        error = UsageError("runs cannot be written", where=str(folder), hint="run from another folder, or use --out")
        return [Fault(error)]
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return []
    what = f"too little room on the disk: a run needs about {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free"
    return [Fault(ResourceError(what, where=str(folder), hint="free some space, or run on a larger disk"))]


@contextlib.contextmanager
def _kept(found: list[Fault], owner: str, key: str = "", paths: Mapping[str, Path] | None = None) -> Iterator[None]:
    """Keep a refusal; anything else that is raised is a mistake of the plugin that ``owner`` names.

    ``key`` is what is looked at; one of its ``paths`` that the refusal names tells more closely.
    """
    try:
        yield
    except TLError as error:
        told = f"{error.what} {error.where or ''}"
        named = next((name for name, path in (paths or {}).items() if str(path) in told), None)
        found.append(Fault(error, f"{key}.{named}" if named else key))
    except (KeyboardInterrupt, MemoryError):
        raise
    except UnreadableError as error:
        found.append(Fault(UsageError(f"{owner} cannot read an example", where=str(error)), key))
    except Exception as error:
        what = f"{owner} does not work: {type(error).__name__}: {error}"
        broken = PluginError(what, hint="please report it to those who wrote it")
        broken.__cause__ = error
        found.append(Fault(broken, key))
