"""Finish a run: score the trained model, save it, and write what the run leaves in its folder."""

from __future__ import annotations

import platform
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.contracts import Mistake, RunFinished, Table
from tlcore.runs.components import RunComponents
from tlcore.runs.context import Result, RunContext
from tlcore.runs.features import RunFeatures, RunPlan
from tlcore.runs.provenance import (
    class_counts,
    data_digest,
    kind_of_inputs,
    library_versions,
    parameter_counts,
    peak_memory,
    processor,
)
from tlcore.runs.state import end
from tlcore.runs.train import TrainedModel

__all__ = ["Scores", "evaluate", "report", "save_model", "write_outputs"]


@dataclass(frozen=True)
class Scores:
    """How good the model is: metrics by split, tables, and the worst mistakes."""

    metrics: Mapping[str, Any]
    tables: Mapping[str, Table]
    mistakes: Sequence[Mistake]


def evaluate(context: RunContext, components: RunComponents, trained: TrainedModel) -> Scores:
    """Score the best model on validation and test, and write its predictions."""
    from tlcore.evaluation.splits import scored_splits

    with context.clock.phase("evaluation"):
        predictions = context.folder / "predictions.parquet" if context.team.leads else None
        scores, tables, mistakes = scored_splits(
            context.recipe, trained.trainer, components.task, components.dataset, predictions
        )
    selection = components.task.selection
    metrics = {
        **scores,
        **trained.pretrained.metrics,
        "best_epoch": trained.training.best_epoch,
        "selection": {"metric": selection.metric, "higher_is_better": selection.higher_is_better},
    }
    return Scores(metrics, {**trained.pretrained.tables, **tables}, mistakes)


def save_model(context: RunContext, components: RunComponents, plan: RunPlan, trained: TrainedModel) -> None:
    """Save the model, with injections merged into the stages' own weights where the adapter can."""
    from tlcore.model.save import save
    from tlcore.training.device import precision_of

    with context.clock.phase("saving"):
        merged = trained.model.merge()
        if not context.team.leads:
            return
        folder = context.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier process, which wrote the same
        save(
            folder,
            context.recipe,
            components.task_state,
            components.backbone,
            trained.model,
            kind_of_inputs(components.dataset),
            merged,
            precision_of(plan.accelerator),
        )


def write_outputs(
    context: RunContext,
    components: RunComponents,
    plan: RunPlan,
    features: RunFeatures,
    trained: TrainedModel,
    scores: Scores,
) -> dict[str, Any]:
    """Write tables, metrics and the manifest, which is returned."""
    from tlcore import __version__
    from tlcore.training.device import precision_of

    dataset = components.dataset
    manifest = {
        "tlcore": __version__,
        "versions": {"python": platform.python_version(), **library_versions()},
        "plugins": {plugin.name: f"{plugin.distribution} {plugin.version}" for plugin in context.host.plugins},
        "recipe": context.plain_recipe,
        "seed": context.recipe.seed,
        "device": str(plan.accelerator.device),
        "processor": processor(),
        "processes": context.team.size,
        "precision": precision_of(plan.accelerator),
        "backbone": {
            **plan.backbone,
            **parameter_counts(components.backbone, trained.model),
            "why_precision": plan.planner.precision_reason,
        },
        "data": {"digest": data_digest(dataset)},
        "counts": dataset.counts(),
        "classes": class_counts(dataset),
        "features": dict(features.counts),
        "seconds": context.clock.seconds,
        "peak_memory_bytes": peak_memory(),
        "place": str(Path.cwd()),
        "started": context.clock.started.isoformat(timespec="seconds"),
        "command": f"tl run {shlex.quote(str(context.folder / 'recipe.yaml'))}",
        "throughput": {
            "first_pass": features.main.throughput.facts(),
            "training": trained.trainer.throughput.facts(),
        },
    }
    for name, table in scores.tables.items():
        context.files.write_table(name, table)
    context.files.write_json("metrics.json", scores.metrics)
    context.files.write_json("manifest.json", manifest)
    return manifest


def report(
    context: RunContext, components: RunComponents, trained: TrainedModel, scores: Scores, manifest: Mapping[str, Any]
) -> Result:
    """Let the plugins report, then mark the run as finished."""
    context.team.wait()  # until all have read what is removed now
    dataset = components.dataset
    context.notify(
        "tl_run_finished",
        RunFinished(
            folder=context.folder,
            recipe=context.plain_recipe,
            metrics=scores.metrics,
            history=tuple(trained.training.history),
            tables=scores.tables,
            manifest=manifest,
            problems=tuple(dataset.problems),
            mistakes=tuple(scores.mistakes),
            notes=tuple(dataset.notes),
        ),
    )
    trained.checkpoints.clear()
    if context.team.leads:
        end(context.folder)
    return Result(context.folder, scores.metrics, context.clock.total(), manifest["features"])
