"""Precompute the features that a run trains on, after checking that they are those of the run to resume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlcore.contracts import SPLITS, Example
from tlcore.data.dataset import Dataset, require_few_problems
from tlcore.errors import DataError
from tlcore.files.run_folder import open_to_others
from tlcore.notes import note
from tlcore.recipe import recipe_yaml
from tlcore.runs.components import RunComponents, early_line_of
from tlcore.runs.context import RunContext
from tlcore.runs.disk_estimate import run_size
from tlcore.runs.provenance import about_backbone, frozen_digest, run_identity
from tlcore.runs.resume import threads_so_far
from tlcore.runs.state import begin

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlcore.features.precompute import PrecomputedFeatures
    from tlcore.runs.feature_planner import FeaturePlanner
    from tlcore.training.data import EarlyReader

__all__ = ["RunFeatures", "RunPlan", "plan_run", "precompute_features", "write_identity"]


@dataclass(frozen=True)
class RunPlan:
    """What decides the results of a run, and what its features are computed with."""

    planner: FeaturePlanner
    accelerator: Accelerator
    """In the precision of the run."""
    identity: Mapping[str, Any]
    threads: Sequence[int]
    backbone: Mapping[str, Any]
    """The manifest's section on the backbone."""
    frozen: str
    """Digest of the frozen part."""


@dataclass(frozen=True)
class RunFeatures:
    """Where training reads its features, and what they cost."""

    main: PrecomputedFeatures
    early: EarlyReader | None
    """Where the first epochs read instead, if a schedule keeps stages frozen in them."""
    counts: Mapping[str, int]
    """Values computed, values reused, and bytes added to the cache."""

    def close(self) -> None:
        """Stop the workers of the reader."""
        self.main.reader.close()


def plan_run(context: RunContext, components: RunComponents) -> RunPlan:
    """Choose the precision, identify the run, and require that the disk has room for what it writes.

    Raises:
        UsageError: the run to resume was started with something else.
        ResourceError: the disk is too small.
    """
    from tlcore.features.precompute import Reporter
    from tlcore.runs.feature_planner import FeaturePlanner

    recipe, backbone, plan = context.recipe, components.backbone, components.plan
    about = about_backbone(context.plain_recipe["backbone"]["name"], backbone, plan)
    frozen = frozen_digest(backbone, plan.freeze_line)
    sizes = run_size(recipe, backbone, plan, context.team.size)
    planner = FeaturePlanner(
        recipe,
        components.dataset,
        backbone,
        own_folder=context.folder / "features",
        reserved=sizes.needed,
        reporter=Reporter(context.progress, context.warn),
    )
    accelerator = context.accelerator
    if recipe.train.precision == "auto":
        with context.clock.phase("precision"):
            accelerator = planner.choose_precision(accelerator)
    identity = run_identity(
        context.plain_recipe,
        components.dataset,
        about["digest"],
        context.host.plugins,
        accelerator,
        processes=context.team.size,
    )
    run_plan = RunPlan(planner, accelerator, identity, threads_so_far(context.resumed), about, frozen)
    if context.resumed is None:
        write_identity(context, run_plan)
    else:
        context.resumed.require_same(identity)
    _warn_insecure_paths(context)
    if context.team.leads:  # the others write nothing
        context.warn(sizes.require_room(context.folder))
    return run_plan


def write_identity(context: RunContext, plan: RunPlan) -> None:
    """Write what a later resume compares; a resumed run replaces it once training has continued."""
    if context.resumed is not None:
        context.files.write("recipe.yaml", recipe_yaml(context.recipe))
    if context.team.leads:
        begin(context.folder, {**context.started_here, "identity": plan.identity, "threads": plan.threads})


def precompute_features(context: RunContext, components: RunComponents, plan: RunPlan) -> RunFeatures:
    """Compute what the feature cache lacks; examples that cannot be read leave the data and are listed.

    Raises:
        DataError: too many examples, or all of a split, cannot be read.
    """
    dataset, freeze_line = components.dataset, components.plan.freeze_line
    with context.clock.phase("features"):
        examples = _examples(dataset)
        main = plan.planner.precompute(freeze_line, plan.accelerator, examples)
        problems = [*dataset.problems, *main.problems]
        context.files.write_problems(problems)
        require_few_problems(problems, len(examples) - len(main.problems), context.recipe.data.max_bad)
        dataset.drop(main.problems)
        for split, count in dataset.counts().items():
            if not count:
                where = str(context.folder / "problems.jsonl")
                raise DataError(f"no example of the {split} split could be read", where=where)
        counts = {"computed": main.computed, "reused": main.reused, "stored_bytes": main.stored_bytes}
        return _with_early_features(context, components, plan, RunFeatures(main, None, counts))


def _with_early_features(
    context: RunContext, components: RunComponents, plan: RunPlan, features: RunFeatures
) -> RunFeatures:
    """Add where the first epochs read, if a schedule keeps stages frozen in them."""
    from tlcore.training.data import EarlyReader

    planner, freeze_line = plan.planner, components.plan.freeze_line
    at = early_line_of(context.recipe, planner.stages, components.plan)
    if at is None:
        return features
    names = [*planner.stages, "the head"]
    context.warn(
        f"the line moves once: the first {at.until} epochs read states below {names[at.line]}, "
        f"those after them below {names[freeze_line]}"
    )
    start = (freeze_line, features.main.reader)
    first = planner.precompute(at.line, plan.accelerator, _examples(components.dataset), epochs=at.until, start=start)
    counts = {name: count + getattr(first, name) for name, count in features.counts.items()}
    return RunFeatures(features.main, EarlyReader(at, first.reader), counts)


def _examples(dataset: Dataset) -> list[Example]:
    return [example for split in SPLITS for example in dataset.split(split)]


def _warn_insecure_paths(context: RunContext) -> None:
    """Warn where other users could change what this run reads again: its own files, and cached features."""
    from tlcore.features.maintenance import cache_root

    cached = [cache_root()] if context.recipe.features.store != "never" else []
    for folder in (context.folder, *cached):
        if danger := open_to_others(folder):
            note(f"{folder} can be changed by others: {danger}")
