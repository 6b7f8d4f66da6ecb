"""Train what the adapter trains, from the newest checkpoint of the run to resume if there is one."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlcore.contracts import EpochFinished, Example, Table
from tlcore.errors import Interrupted, PluginError
from tlcore.notes import note
from tlcore.plugins.validation import encoded
from tlcore.runs.components import RunComponents
from tlcore.runs.context import RunContext
from tlcore.runs.features import RunFeatures, RunPlan, write_identity
from tlcore.runs.provenance import frozen_digest

if TYPE_CHECKING:
    from tlcore.training.checkpoints import Checkpoints
    from tlcore.training.model import TrainableModel
    from tlcore.training.state import ResumePoint, TrainingResult
    from tlcore.training.trainer import Trainer

__all__ = ["Pretrained", "TrainedModel", "train"]


@dataclass(frozen=True)
class Pretrained:
    """What was measured before the first step: the linear probe, the learning rate that was found."""

    metrics: Mapping[str, Any]
    tables: Mapping[str, Table]

    def to_json(self) -> dict[str, Any]:
        """Return what each checkpoint keeps of it."""
        return {"metrics": self.metrics, "tables": {name: dataclasses.asdict(t) for name, t in self.tables.items()}}


@dataclass(frozen=True)
class TrainedModel:
    """The best model of a training."""

    trainer: Trainer
    model: TrainableModel
    checkpoints: Checkpoints
    pretrained: Pretrained
    training: TrainingResult


def train(context: RunContext, components: RunComponents, plan: RunPlan, features: RunFeatures) -> TrainedModel:
    """Build the trainable part, then train it or solve its head.

    Raises:
        Interrupted: a signal stopped it, after a checkpoint.
        PluginError: the frozen part changed.
    """
    from tlcore.model.save import require_apart
    from tlcore.randomness import seeded
    from tlcore.training.checkpoints import Checkpoints
    from tlcore.training.head_solver import fit_head
    from tlcore.training.model import TrainableModel
    from tlcore.training.trainer import Trainer, TrainerConfig

    recipe, backbone = context.recipe, components.backbone
    with seeded(recipe.seed, "injections"):
        model = TrainableModel(backbone, components.plan)
    require_apart(backbone, model)
    checkpoints = Checkpoints(context.folder / "checkpoints", writes=context.team.leads, warn=context.warn)
    point = _resume_point(context, plan, checkpoints)
    config = TrainerConfig(recipe.train, recipe.seed, cache_bytes=recipe.features.memory * 1e9)
    trainer = Trainer(model, features.main.reader, components.task, plan.accelerator, config, features.early)
    pretrained = _pretrained(context, components, trainer, point)
    work = functools.partial(fit_head, trainer, *_splits(components), checkpoints)
    if recipe.head.solver != "lbfgs":
        work = functools.partial(
            trainer.train,
            *_splits(components),
            checkpoints,
            resume_from=point,
            on_resumed=lambda: write_identity(context, plan),
            metadata=pretrained.to_json(),
            stop_requested=context.stopping.asked,
        )
    with context.clock.phase("training"), context.stopping.gently(), _epoch_events(context) as on_epoch_end:
        training = work(on_epoch_end=on_epoch_end)
    if context.stopping.asked():  # while a head was solved, or in the last epoch
        raise Interrupted("interrupted")
    if frozen_digest(backbone, components.plan.freeze_line) != plan.frozen:
        raise PluginError(
            "the frozen part of the network changed while the rest was trained",
            where=f"adapter {recipe.adapter.name}, backbone {recipe.backbone.name}",
            hint="one of them holds on to weights below the line, or changes them; please report this to its maker",
        )
    return TrainedModel(trainer, model, checkpoints, pretrained, training)


def _splits(components: RunComponents) -> tuple[Sequence[Example], Sequence[Example]]:
    return components.dataset.split("train"), components.dataset.split("validation")


def _resume_point(context: RunContext, plan: RunPlan, checkpoints: Checkpoints) -> ResumePoint | None:
    """Return where training continues; None: it starts from its first step."""
    if context.resumed is None:
        return None
    point = context.resumed.training(
        context.recipe, context.files, checkpoints, plan.identity, context.team, context.warn
    )
    if point is None:
        write_identity(context, plan)
    return point


def _pretrained(
    context: RunContext, components: RunComponents, trainer: Trainer, point: ResumePoint | None
) -> Pretrained:
    """Measure what is measured before the first step, or read what the process that started the run measured."""
    if point is not None:
        kept = point.checkpoint.position["found"]
        tables = {name: Table(tuple(t["columns"]), tuple(map(tuple, t["rows"]))) for name, t in kept["tables"].items()}
        return Pretrained(dict(kept["metrics"]), tables)
    from tlcore.training.lr_finder import find_lr

    with context.clock.phase("probe"):
        metrics = _probe(context, components, trainer)
    if context.recipe.train.lr != "find":
        return Pretrained(metrics, {})
    rates = find_lr(trainer, components.dataset.split("train"))
    return Pretrained({**metrics, "lr_find": rates.chosen}, {"lr_find": rates.table()})


def _probe(context: RunContext, components: RunComponents, trainer: Trainer) -> dict[str, Any]:
    """Fit the standardization of the features, and measure the linear probe if the recipe wants it."""
    from tlcore.evaluation.probe import linear_probe, sampled

    task, dataset = components.task, components.dataset
    train = dataset.split("train")
    if not context.recipe.evaluate.probe:
        trainer.features.fit_scaler(train)
        return {}
    places = sampled(len(train), trainer.unwrapped.backbone.feature_dim, context.recipe.seed)
    features = trainer.features.fit_scaler(train, places)
    goal = encoded(task, [train[place].label for place in places])
    others = {split: dataset.split(split) for split in ("validation", "test")}
    targets = {split: encoded(task, [example.label for example in found]) for split, found in others.items()}
    parts = {split: trainer.features.standardized(found) for split, found in others.items()}
    return {"probe": linear_probe(task, features, goal, parts, targets)}


@contextlib.contextmanager
def _epoch_events(context: RunContext) -> Iterator[Callable[[int, Mapping[str, Any]], None]]:
    """Give a callback for finished epochs: it writes history.jsonl, and informs the plugins and the trackers."""
    from tlcore.training.head_solver import PENALTIES
    from tlcore.training.tracking import Trackers

    recipe = context.recipe
    epochs = len(PENALTIES) if recipe.head.solver == "lbfgs" else recipe.train.epochs
    trackers = Trackers(
        recipe.track if context.team.leads else (),
        project=recipe.name,
        folder=context.folder,
        recipe=context.plain_recipe,
        warn=note,
    )

    def on_epoch_end(epoch: int, record: Mapping[str, Any]) -> None:
        context.files.append("history.jsonl", record)
        event = EpochFinished(
            folder=context.folder, recipe=context.plain_recipe, epoch=epoch, epochs=epochs, record=record
        )
        context.notify("tl_epoch_finished", event)
        scores = {f"validation/{name}": value for name, value in record["validation"].items()}
        trackers.log({"train/loss": record["train"]["loss"], "lr": record["lr"], **scores}, epoch)

    try:
        yield on_epoch_end
    finally:
        trackers.finish()
