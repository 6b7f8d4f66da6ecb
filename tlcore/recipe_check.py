"""What can be found wrong with a valid recipe without training: its files, its columns, its weights, the disk."""

from __future__ import annotations

import contextlib
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from tlcore.errors import (
    PluginError,
    RecipeWarning,
    ResourceError,
    TLError,
    UnreadableError,
    UsageError,
    WeightsError,
    nearest,
)
from tlcore.floors import require_floors
from tlcore.recipe import Choice, Recipe
from tlcore.run_folder import is_writable

__all__ = ["Faults", "faults_of"]

LEAST_FREE = 64 * 2**20
"""Bytes: less than the smallest run leaves."""
COPIES = 4
"""A run leaves the network once, and while it trains two checkpoints of a part with the optimizer's two moments."""


class Faults(TLError):
    """Several things that are wrong; the exit code is that of the worst kind, which is the highest."""

    def __init__(self, faults: list[TLError]) -> None:
        lines = []
        for fault in faults:
            more = "; ".join(part.replace("\n", " ") for part in (fault.where, fault.hint) if part)
            lines.append(f"{fault.what} ({more})" if more else fault.what)
        super().__init__(f"{len(faults)} things stand in the way of this recipe", where="\n".join(lines))
        self.exit_code = max(fault.exit_code for fault in faults)


def faults_of(recipe: Recipe, *, deep: bool = False) -> list[TLError]:
    """Return all that is wrong, without training.

    By itself this looks whether the files are there, reads a local table's columns, and looks at the disk; nothing
    heavy but the data source is imported, and nothing is fetched. ``deep`` reads all examples and builds task, network
    and adapter as a run does; weights must be on this machine.
    """
    found: list[TLError] = []
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", RecipeWarning)
        with _kept(found, "tlcore"):
            require_floors()
        found += _absent_paths(recipe)
        found += _faults_of_disk(LEAST_FREE)
        absent = {fault.where for fault in found}
        if deep:
            found += [fault for fault in _faults_of_parts(recipe) if fault.where not in absent]
        elif any(isinstance(value, Path) for value in vars(recipe.data.source.options).values()):
            found += _faults_of_source(recipe)
    return found


def _absent_paths(recipe: Recipe) -> Iterator[TLError]:
    """Yield a fault for each path that task, backbone or adapter are to read and that is not there."""
    for word in ("task", "backbone", "adapter"):
        for key, value in vars(getattr(recipe, word).options).items():
            if isinstance(value, Path) and not value.exists():
                beside = [one.name for one in value.parent.iterdir()] if value.parent.is_dir() else []
                meant = nearest(value.name, beside)
                kind = WeightsError if key == "weights" else UsageError
                hint = f"did you mean {value.parent / meant}?" if meant else f"correct {word}.{key}"
                yield kind(f"{word}.{key}: there is no {value.name}", where=str(value), hint=hint)


def _faults_of_source(recipe: Recipe) -> list[TLError]:
    """Read the data source up to its first example, so far that files and columns must be there."""
    found: list[TLError] = []
    source = recipe.data.source
    with _kept(found, source.name):
        next(iter(source.spec.build(source.options).examples()), None)
    return found


def _faults_of_parts(recipe: Recipe) -> list[TLError]:
    """Build what a run builds; what does not depend on a part that fails is looked at all the same."""
    from tlcore.parts import dataset_of, parts_of
    from tlcore.randomness import seeded
    from tlcore.weights import without_network

    found: list[TLError] = []
    dataset = backbone = None
    with without_network():
        with _kept(found, recipe.data.source.name):
            dataset = dataset_of(recipe)
        with _kept(found, recipe.backbone.name), seeded(recipe.seed, "backbone"):
            backbone = recipe.backbone.spec.build(recipe.backbone.options, None)
        if backbone is not None:
            size = sum(tensor.nbytes for stage in backbone.stages.values() for tensor in stage.state_dict().values())
            found += _faults_of_disk(COPIES * size)
        if dataset is not None and backbone is not None:
            with _kept(found, _all_three(recipe)):
                parts_of(recipe, dataset)
        elif dataset is not None:
            with _kept(found, recipe.task.name):
                task = recipe.task.spec.build(recipe.task.options)
                task.fit([example.label for example in dataset.split("train")])
        elif backbone is not None:
            with _kept(found, recipe.adapter.name):
                recipe.adapter.spec.build(recipe.adapter.options).plan(backbone, 2)
    return found


def _all_three(recipe: Recipe) -> str:
    chosen: tuple[Choice, ...] = (recipe.task, recipe.backbone, recipe.adapter)
    return " with ".join(choice.name for choice in chosen)


def _faults_of_disk(needed: int) -> list[TLError]:
    """Return what keeps a run from writing below ``runs``; ``needed`` is in bytes."""
    folder = Path("runs").absolute()
    if not is_writable(folder):
        return [UsageError("runs cannot be written", where=str(folder), hint="run from another folder, or use --out")]
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return []
    what = f"too little room on the disk: a run needs about {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free"
    return [ResourceError(what, where=str(folder), hint="free some space, or run on a larger disk")]


@contextlib.contextmanager
def _kept(found: list[TLError], owner: str) -> Iterator[None]:
    """Keep a refusal; anything else that is raised is a mistake of the plugin that ``owner`` names."""
    try:
        yield
    except TLError as error:
        found.append(error)
    except (KeyboardInterrupt, MemoryError):
        raise
    except UnreadableError as error:
        found.append(UsageError(f"{owner} cannot read an example", where=str(error)))
    except Exception as error:
        what = f"{owner} does not work: {type(error).__name__}: {error}"
        broken = PluginError(what, hint="please report it to those who wrote it")
        broken.__cause__ = error
        found.append(broken)
