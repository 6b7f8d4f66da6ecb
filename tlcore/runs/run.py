"""Run a recipe, or resume a run: from a recipe to a trained model with its metrics and a report."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tlcore.contracts import RunStarted
from tlcore.minimum_versions import require_floors
from tlcore.notes import noted
from tlcore.plugins.errors import plugin_errors
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import Recipe, read_recipe
from tlcore.runs.components import build_components, build_dataset
from tlcore.runs.context import Progress, Result, RunRequest
from tlcore.runs.features import plan_run, precompute_features
from tlcore.runs.finish import evaluate, report, save_model, write_outputs
from tlcore.runs.resume import ResumeContext
from tlcore.runs.setup import (
    create_run_folder,
    errors_with_resume_hint,
    garbage_collection_off,
    lock_unfinished,
    set_up,
)
from tlcore.runs.signals import Stopping
from tlcore.runs.state import begun_with, require_unfinished
from tlcore.runs.train import train
from tlcore.weights.lock import lock_beside

__all__ = ["resume", "run"]


def run(
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    registry: Registry | None = None,
    progress: Progress = lambda phase, done, total: None,
    warn: Callable[[str], None] = lambda text: print(text, file=sys.stderr),  # noqa: T201
    stopping: Stopping | None = None,
) -> Result:
    """Run a recipe (a file, or one that was read) and return its result.

    ``overrides`` are settings such as ``train.epochs=3``; ``out`` is the run's folder, by default
    ``runs/<name>/<time>`` in the working directory. Nothing of an earlier run is overwritten. Where `tl weights pull`
    left a lock file beside the recipe, the weights that it lists must still be the same.

    Raises:
        TLError: one of its kinds, each with a message for people and an exit code.
    """
    require_floors()
    registry = registry or Registry(PluginHost())
    lock = None
    if not isinstance(recipe, Recipe):
        lock = lock_beside(Path(recipe))
        recipe = read_recipe(Path(recipe), registry, overrides)
    return _execute(
        RunRequest(
            recipe=recipe,
            host=registry.host,
            progress=progress,
            warn=warn,
            stopping=stopping or Stopping(),
            out=Path(out) if out is not None else None,
            lock=lock,
        )
    )


def resume(
    folder: str | Path,
    *,
    overrides: Sequence[str] = (),
    allow_changed: bool = False,
    registry: Registry | None = None,
    progress: Progress = lambda phase, done, total: None,
    warn: Callable[[str], None] = lambda text: print(text, file=sys.stderr),  # noqa: T201
    stopping: Stopping | None = None,
) -> Result:
    """Resume an unfinished run from its newest sound checkpoint, to the same bits as a run that was not interrupted.

    It continues in the working directory in which it was started. A recipe, data, weights, libraries or a number of
    processes other than those it was started with are refused, unless ``allow_changed``.

    Raises:
        TLError: there is nothing to resume, another process works on it, or something changed.
    """
    folder = Path(folder).resolve()
    require_unfinished(folder)
    started = begun_with(folder) or {}
    place = Path(started.get("place", "."))
    registry = registry or Registry(PluginHost())
    with contextlib.chdir(place if place.is_dir() else Path()):
        return _execute(
            RunRequest(
                recipe=read_recipe(folder / "recipe.yaml", registry, overrides),
                host=registry.host,
                progress=progress,
                warn=warn,
                stopping=stopping or Stopping(),
                out=folder,
                lock=Path(started["lock"]) if started.get("lock") else None,
                resumed=ResumeContext(started.get("identity"), allow_changed, started.get("threads", ())),
            )
        )


@plugin_errors()
def _execute(request: RunRequest) -> Result:
    """Run every step in its order; each gets the context and what earlier steps returned."""
    from tlcore.features.workers import explain_worker_exit

    settings = set_up(request)
    with contextlib.ExitStack() as locks:
        lock_unfinished(settings, locks)
        with settings.clock.phase("data"), garbage_collection_off():
            dataset = build_dataset(settings.recipe)
        with settings.clock.phase("backbone"), garbage_collection_off(), noted(dataset.notes):
            components = build_components(settings.recipe, dataset, settings.lock)
        context = create_run_folder(settings, locks)
        context.notify(
            "tl_run_started",
            RunStarted(
                folder=context.folder,
                recipe=context.plain_recipe,
                counts=dataset.counts(),
                notes=tuple(dataset.notes),
            ),
        )
        with errors_with_resume_hint(context), noted(dataset.notes, context.warn), explain_worker_exit():
            plan = plan_run(context, components)
            with contextlib.closing(precompute_features(context, components, plan)) as features:
                trained = train(context, components, plan, features)
                scores = evaluate(context, components, trained)
                save_model(context, components, plan, trained)
                manifest = write_outputs(context, components, plan, features, trained, scores)
                return report(context, components, trained, scores, manifest)
