"""One run from recipe to report: every part in its order, each told only what it needs."""

from __future__ import annotations

import contextlib
import datetime
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import SPLITS, EpochFinished, Plan, RunFinished, RunStarted, Table, Task
from tlcore.data.examples import Dataset, require_few_problems
from tlcore.errors import DataError, TLError
from tlcore.floors import require_floors
from tlcore.notes import note, noted
from tlcore.parts import Parts, dataset_of, parts_of
from tlcore.plugins import PluginHost
from tlcore.provenance import (
    about_backbone,
    class_counts,
    data_digest,
    frozen_digest,
    kind_of_inputs,
    library_versions,
    parameter_counts,
    peak_memory,
)
from tlcore.recipe import Recipe, plain, read_recipe, recipe_yaml
from tlcore.registry import Registry
from tlcore.run_folder import RunFolder, require_free
from tlcore.weight_lock import lock_beside

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlcore.features.first_pass import FirstPass
    from tlcore.first_passes import FirstPasses
    from tlcore.training.loop import Trainer, Training

__all__ = ["Progress", "Result", "run"]

Progress = Callable[[str, int, int], None]
"""Called with a phase in words, what is done and how much there is."""


@dataclass(frozen=True)
class Result:
    """What a finished run gives: its folder, its metrics by split, its seconds, and what was computed or reused."""

    folder: Path
    metrics: Mapping[str, Any]
    seconds: float
    features: Mapping[str, int]


@dataclass
class _Clock:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)


def run(
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    registry: Registry | None = None,
    progress: Progress = lambda phase, done, total: None,
    warn: Callable[[str], None] = lambda text: print(text, file=sys.stderr),  # noqa: T201
) -> Result:
    """Run a recipe (a file, or one that was read) and return what it gave.

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
    return _Run(recipe, registry, progress, warn, lock).execute(Path(out) if out is not None else None)


class _Run:
    """The state of one run between its phases."""

    def __init__(
        self,
        recipe: Recipe,
        registry: Registry,
        progress: Progress,
        warn: Callable[[str], None],
        lock: Path | None = None,
    ) -> None:
        self.lock = lock
        self.recipe = recipe
        self.plain = plain(recipe)
        self.host = registry.host
        self.progress = progress
        self.warn = warn
        self.clock = _Clock()
        self.started = datetime.datetime.now().astimezone()

    def execute(self, out: Path | None) -> Result:
        from tlcore.training.team import Team

        began = time.perf_counter()
        accelerator = self._accelerator()
        self.team = Team(accelerator)
        if not self.team.leads:
            self.progress, self.warn = _silent_progress, _silent
        elif out is not None:
            require_free(out)
        with self.clock.phase("data"):
            dataset = dataset_of(self.recipe)
        with self.clock.phase("backbone"), noted(dataset.notes):
            parts = parts_of(self.recipe, dataset, self.lock)
        if self.team.leads:
            self.files = RunFolder.made(out, Path("runs") / self.recipe.name, self.started)
        folder = Path(self.team.told(str(self.files.path) if self.team.leads else ""))
        if not self.team.leads:
            self.files = RunFolder(folder, writes=False)
        self.folder = folder
        self.files.write("recipe.yaml", recipe_yaml(self.recipe))
        self._tell(
            "tl_run_started",
            RunStarted(folder=self.folder, recipe=self.plain, counts=dataset.counts(), notes=tuple(dataset.notes)),
        )
        try:
            with noted(dataset.notes, self.warn):
                return self._trained(accelerator, dataset, parts, began)
        finally:
            if self.team.leads:
                shutil.rmtree(self.folder / "features", ignore_errors=True)

    def _accelerator(self) -> Accelerator:
        from tlcore.training.device import accelerator_for

        return accelerator_for(self.recipe.train.device, self.recipe.train.precision)

    def _trained(
        self,
        accelerator: Accelerator,
        dataset: Dataset,
        parts: Parts,
        began: float,
    ) -> Result:
        from tlcore.artifact import save
        from tlcore.first_passes import FirstPasses
        from tlcore.randomness import seeded
        from tlcore.training.checkpoints import Checkpoints
        from tlcore.training.device import precision_of
        from tlcore.training.loop import Trainer
        from tlcore.training.network import Upper

        task, backbone, plan = parts.task, parts.backbone, parts.plan
        about = about_backbone(self.plain["backbone"]["name"], backbone, plan)
        frozen = frozen_digest(backbone, plan.freeze_line)
        passes = FirstPasses(
            self.recipe,
            dataset,
            backbone,
            own_folder=self.folder / "features",
            progress=self.progress,
            tell=self.warn,
        )
        if self.recipe.train.precision == "auto":
            with self.clock.phase("precision"):
                accelerator = passes.accelerator(accelerator)
        with self.clock.phase("features"):
            found = self._first_pass(passes, accelerator, dataset, plan)
            reader = found.reader
        with seeded(self.recipe.seed, "injections"):
            upper = Upper(backbone, plan)
        about |= parameter_counts(backbone, upper)
        checkpoints = Checkpoints(self.folder / "checkpoints", writes=self.team.leads)
        train, validation = dataset.split("train"), dataset.split("validation")
        metrics: dict[str, Any] = {}
        tables: dict[str, Table] = {}
        trainer = Trainer(upper, plan, reader, task, self.recipe.train, accelerator, self.recipe.seed, note)
        with self.clock.phase("probe"):
            metrics |= self._probed(trainer, task, dataset)
        with self.clock.phase("training"):
            if self.recipe.train.lr == "find":
                rates = trainer.find_lr(train)
                metrics["lr_find"], tables["lr_find"] = rates.chosen, rates.table()
            work = trainer.solve if self.recipe.head.solver == "lbfgs" else trainer.train
            training = self._with_trackers(lambda told: work(train, validation, checkpoints, told))
        if frozen_digest(backbone, plan.freeze_line) != frozen:
            raise TLError("the frozen part of the network changed while the rest was trained; please report this")
        with self.clock.phase("evaluation"):
            scores, found_tables, mistakes = self._evaluated(trainer, task, dataset)
        selection = {"metric": task.selection.metric, "higher_is_better": task.selection.higher_is_better}
        metrics = {**scores, **metrics, "best_epoch": training.best_epoch, "selection": selection}
        with self.clock.phase("saving"):
            merged = upper.merge()
            kind, precision = kind_of_inputs(dataset), precision_of(accelerator)
            if self.team.leads:
                save(self.folder / "model", self.recipe, parts.task_state, backbone, upper, kind, merged, precision)
        features = {"computed": found.computed, "reused": found.reused, "stored_bytes": found.stored_bytes}
        manifest = self._manifest(accelerator, dataset, {**about, "why_precision": passes.why}, features)
        self._leave(metrics, {**tables, **found_tables}, manifest)
        self.team.wait()  # until all have read what is cleared away
        checkpoints.clear()
        self._tell(
            "tl_run_finished",
            RunFinished(
                folder=self.folder,
                recipe=self.plain,
                metrics=metrics,
                history=tuple(training.history),
                tables={**tables, **found_tables},
                manifest=manifest,
                problems=tuple(dataset.problems),
                mistakes=tuple(mistakes),
                notes=tuple(dataset.notes),
            ),
        )
        return Result(self.folder, metrics, round(time.perf_counter() - began, 3), features)

    def _leave(self, metrics: Mapping[str, Any], tables: Mapping[str, Table], manifest: Mapping[str, Any]) -> None:
        for name, table in tables.items():
            self.files.write_table(name, table)
        self.files.write_json("metrics.json", metrics)
        self.files.write_json("manifest.json", manifest)

    def _probed(self, trainer: Trainer, task: Task, dataset: Dataset) -> dict[str, Any]:
        """Measure the features before training: for the standardisation, and for the linear probe if it is wanted."""
        from tlcore.evaluation.probe import linear_probe, most_examples

        train = dataset.split("train")
        wanted = most_examples(trainer.bare.standardise.mean.numel()) if self.recipe.evaluate.probe else 0
        features = trainer.fit_standardisation(train, wanted)
        trainer.hold([*train, *dataset.split("validation")], self.recipe.features.memory * 1e9)
        if not wanted:
            return {}
        goal = task.encode([example.label for example in train[: len(features)]])
        others = {split: dataset.split(split) for split in ("validation", "test")}
        targets = {split: task.encode([example.label for example in found]) for split, found in others.items()}
        parts = {split: trainer.standardised(found) for split, found in others.items()}
        return {"probe": linear_probe(task, features, goal, parts, targets)}

    def _with_trackers(self, train: Callable[[Callable[[int, Mapping[str, Any]], None]], Training]) -> Training:
        from tlcore.training.tracking import Trackers

        trackers = Trackers(
            self.recipe.track if self.team.leads else (),
            project=self.recipe.name,
            folder=self.folder,
            recipe=self.plain,
            warn=note,
        )

        def epoch_finished(epoch: int, record: Mapping[str, Any]) -> None:
            self._epoch_finished(epoch, record)
            scores = {f"validation/{name}": value for name, value in record["validation"].items()}
            trackers.log({"train/loss": record["train"]["loss"], "lr": record["lr"], **scores}, epoch)

        try:
            return train(epoch_finished)
        finally:
            trackers.finish()

    def _first_pass(self, passes: FirstPasses, accelerator: Accelerator, dataset: Dataset, plan: Plan) -> FirstPass:
        examples = [example for split in SPLITS for example in dataset.split(split)]
        found = passes.at(plan.freeze_line, accelerator, examples)
        problems = [*dataset.problems, *found.problems]
        self.files.write_problems(problems)
        require_few_problems(problems, len(examples) - len(found.problems), self.recipe.data.max_bad)
        dataset.drop(found.problems)
        for split, count in dataset.counts().items():
            if not count:
                raise DataError(
                    f"no example of the {split} split could be read", where=str(self.folder / "problems.jsonl")
                )
        return found

    def _evaluated(
        self, trainer: Trainer, task: Task, dataset: Dataset
    ) -> tuple[dict[str, Any], Mapping[str, Table], list[Any]]:
        from tlcore.evaluation.predictions import prediction_columns, worst_mistakes, write_predictions

        metrics: dict[str, Any] = {}
        columns = []
        for split in ("test", "validation"):
            examples = dataset.split(split)
            targets = task.encode([example.label for example in examples])
            outputs = trainer.outputs(examples)
            evaluation = task.evaluate(outputs, targets)
            metrics[split] = dict(evaluation.metrics)
            columns.append(prediction_columns(task, examples, outputs))
            if split == "test":
                if resamples := self.recipe.evaluate.resamples:
                    from tlcore.evaluation.bootstrap import intervals

                    metrics[split]["intervals"] = intervals(
                        task, outputs, targets, metrics[split], resamples=resamples, seed=self.recipe.seed
                    )
                tables = evaluation.tables
                mistakes = worst_mistakes(task, examples, outputs, targets, self.recipe.evaluate.mistakes)
        if self.team.leads:
            write_predictions(self.folder / "predictions.parquet", columns)
        return metrics, tables, mistakes

    def _epoch_finished(self, epoch: int, record: Mapping[str, Any]) -> None:
        self.files.append("history.jsonl", record)
        from tlcore.training.head_solver import PENALTIES

        epochs = len(PENALTIES) if self.recipe.head.solver == "lbfgs" else self.recipe.train.epochs
        event = EpochFinished(folder=self.folder, recipe=self.plain, epoch=epoch, epochs=epochs, record=record)
        self._tell("tl_epoch_finished", event)

    def _manifest(
        self, accelerator: Accelerator, dataset: Dataset, about: Mapping[str, Any], features: Mapping[str, int]
    ) -> dict[str, Any]:
        from tlcore import __version__
        from tlcore.training.device import precision_of

        return {
            "tlcore": __version__,
            "versions": {"python": platform.python_version(), **library_versions()},
            "plugins": {plugin.name: f"{plugin.distribution} {plugin.version}" for plugin in self.host.plugins},
            "seed": self.recipe.seed,
            "device": str(accelerator.device),
            "processes": self.team.size,
            "precision": precision_of(accelerator),
            "backbone": about,
            "data": {"digest": data_digest(dataset)},
            "counts": dataset.counts(),
            "classes": class_counts(dataset),
            "features": dict(features),
            "seconds": self.clock.seconds,
            "peak_memory_bytes": peak_memory(),
            "started": self.started.isoformat(timespec="seconds"),
            "command": f"tl run {shlex.quote(str(self.folder / 'recipe.yaml'))}",
        }

    def _tell(self, hook: str, event: Any) -> None:
        if self.team.leads:
            self.host.notify(hook, event, self.warn)


def _silent(text: str) -> None:
    """Say nothing: the leading process does."""


def _silent_progress(phase: str, done: int, total: int) -> None:
    """Show nothing: the leading process does."""
