"""Build what a recipe names before anything is computed: examples, task, network and plan."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.contracts import SPLITS, AugmentsInputs, Backbone, FitsExamples, Plan, Task
from tlcore.data.dataset import Dataset, split_examples
from tlcore.errors import DataError, UnreadableError, UsageError
from tlcore.features.freeze_point import EarlyLine, early_line
from tlcore.notes import note
from tlcore.plugins.validation import encoded, fitted, planned, prepared_by, require_backbone
from tlcore.recipe import Recipe
from tlcore.weights.lock import verify_used
from tlcore.weights.sources import recorded_files

__all__ = ["RunComponents", "build_components", "build_dataset", "early_line_of"]


@dataclass(frozen=True)
class RunComponents:
    """What a run is made of: the data, the task fitted to its labels, the network, and how it is adapted."""

    dataset: Dataset
    task: Task
    task_state: Mapping[str, Any]
    backbone: Backbone
    plan: Plan


def build_dataset(recipe: Recipe) -> Dataset:
    """Read the examples of a recipe and split them.

    Raises:
        DataError: they cannot be used.
    """
    section = recipe.data
    source = section.source.spec.build(section.source.options)
    shares = {"validation": section.holdout.validation, "test": section.holdout.test}
    return split_examples(source, shares=shares, max_bad=section.max_bad, leaks=section.leaks)


def build_components(recipe: Recipe, dataset: Dataset, lock: Path | None = None) -> RunComponents:
    """Build task, backbone and plan; weights that a lock file lists must still be the same.

    Raises:
        TLError: labels, weights or settings that do not go together.
    """
    from tlcore.randomness import seeded

    task = recipe.task.spec.build(recipe.task.options)
    task_state = fitted(task, [example.label for example in dataset.split("train")])
    for split in SPLITS:
        with _placed(f"in the {split} split"):
            encoded(task, [example.label for example in dataset.split(split)])
    # Initial weights, where a plugin draws any, come from torch's global generator: a seed of their own for each.
    with seeded(recipe.seed, "backbone"), recorded_files() as used:
        backbone = recipe.backbone.spec.build(recipe.backbone.options, None)
    if lock is not None and lock.is_file():
        verify_used(lock, used)
    if isinstance(backbone, FitsExamples):
        backbone.fit(dataset.split("train"))
    require_backbone(backbone)
    with seeded(recipe.seed, "adapter"):
        plan = planned(recipe.adapter.spec.build(recipe.adapter.options), backbone, task.outputs)
    _require_apart(backbone, plan)
    if recipe.head.solver != "steps" and (plan.freeze_line < len(backbone.stages) or recipe.train.mix):
        raise UsageError(
            f"head.solver is {recipe.head.solver}, which finds a head on features that stay as they are",
            hint="use the adapter feature-extraction without train.mix, or `head.solver: steps`",
        )
    if recipe.train.mix:
        _require_mixing(backbone, plan, dataset)
    if late := [phase.epoch for phase in plan.schedule if phase.epoch >= recipe.train.epochs]:
        note(
            f"{len(late)} of the adapter's phases begin after the last of {recipe.train.epochs} epochs, from epoch "
            f"{min(late) + 1} on; what they would train stays frozen"
        )
    return RunComponents(dataset, task, task_state, backbone, plan)


def early_line_of(recipe: Recipe, stages: Sequence[str], plan: Plan) -> EarlyLine | None:
    """Return where the first epochs of a recipe read, if higher than its line; None where nothing is stored or blended.

    States that are computed whenever they are read cost the same at any line, and what is blended must be whole.
    """
    if recipe.features.store == "never" or recipe.train.mix:
        return None
    options = recipe.backbone.options
    versions = recipe.train.views if isinstance(options, AugmentsInputs) and options.augment is not None else 1
    return early_line(plan, stages, epochs=recipe.train.epochs, versions=versions)


def _require_apart(backbone: Backbone, plan: Plan) -> None:
    """Refuse to train a stage that shares weights with one below the line, before minutes are spent on the latter.

    Raises:
        UsageError: it does.
    """
    stages = list(backbone.stages.items())
    frozen = {
        id(t): name for name, stage in stages[: plan.freeze_line] for t in (*stage.parameters(), *stage.buffers())
    }
    injected = {injection.stage for injection in plan.injections}
    for name, stage in stages[plan.freeze_line :]:
        other = next((frozen[id(t)] for t in (*stage.parameters(), *stage.buffers()) if id(t) in frozen), None)
        if other is not None and name not in injected:
            raise UsageError(
                f"the stage {name} would be trained, but shares weights with {other}, which stays frozen",
                where=f"stages of this backbone: {', '.join(backbone.stages)}",
                hint="train both of them (adapter fine-tuning, `layers: all`), or none (adapter feature-extraction)",
            )


def _require_mixing(backbone: Backbone, plan: Plan, dataset: Dataset) -> None:
    """Blend two examples before minutes are spent on a run that cannot blend any.

    Raises:
        UsageError: the backbone cannot blend what reaches the trained part, or nothing says how.
    """
    import torch

    from tlcore.features.extractor import FEATURES
    from tlcore.randomness import generator

    with contextlib.suppress(UnreadableError):
        state = {FEATURES: torch.zeros(2, backbone.feature_dim)}
        if plan.freeze_line < len(backbone.stages):
            state = prepared_by(backbone, dataset.split("train")[:2], None)
        backbone.mix(state, torch.eye(2)[: len(next(iter(state.values())))], generator(0, "mix"))


@contextlib.contextmanager
def _placed(where: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(
            error.what, where=f"{where}; {error.where}" if error.where else where, hint=error.hint
        ) from error
