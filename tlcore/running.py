"""One run from recipe to report: every part in its order, each told only what it needs."""

from __future__ import annotations

import contextlib
import datetime
import json
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import SPLITS, Backbone, EpochFinished, Plan, Problem, RunFinished, RunStarted, Table, Task
from tlcore.data.examples import Dataset, require_few_problems, split_examples
from tlcore.errors import DataError, PluginError, TLError, UsageError
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
from tlcore.publishing import publish_file
from tlcore.recipe import Recipe, plain, read_recipe, recipe_yaml
from tlcore.registry import Registry

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlcore.features.first_pass import StateReader
    from tlcore.training.loop import Trainer

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
    ``runs/<name>/<time>`` in the working directory. Nothing of an earlier run is overwritten.

    Raises:
        TLError: one of its kinds, each with a message for people and an exit code.
    """
    registry = registry or Registry(PluginHost())
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(Path(recipe), registry, overrides)
    return _Run(recipe, registry, progress, warn).execute(Path(out) if out is not None else None)


class _Run:
    """The state of one run between its phases."""

    def __init__(self, recipe: Recipe, registry: Registry, progress: Progress, warn: Callable[[str], None]) -> None:
        self.recipe = recipe
        self.plain = plain(recipe)
        self.host = registry.host
        self.progress = progress
        self.warn = warn
        self.clock = _Clock()
        self.started = datetime.datetime.now().astimezone()

    def execute(self, out: Path | None) -> Result:
        if out is not None:
            _require_free(out)
        began = time.perf_counter()
        accelerator = self._accelerator()
        with self.clock.phase("data"):
            dataset = self._dataset()
        with self.clock.phase("backbone"):
            task, task_state, backbone, plan = self._parts(dataset)
        self.folder = _new_folder(out, self.recipe.name, self.started)
        self._write("recipe.yaml", recipe_yaml(self.recipe))
        self._tell(
            "tl_run_started",
            RunStarted(folder=self.folder, recipe=self.plain, counts=dataset.counts(), notes=tuple(dataset.notes)),
        )
        try:
            return self._trained(accelerator, dataset, task, task_state, backbone, plan, began)
        finally:
            shutil.rmtree(self.folder / "features", ignore_errors=True)

    def _accelerator(self) -> Accelerator:
        from tlcore.training.device import accelerator_for

        return accelerator_for(self.recipe.train.device, self.recipe.train.precision)

    def _dataset(self) -> Dataset:
        section = self.recipe.data
        source = section.source.spec.build(section.source.options)
        shares = {"validation": section.holdout.validation, "test": section.holdout.test}
        return split_examples(source, shares=shares, max_bad=section.max_bad)

    def _parts(self, dataset: Dataset) -> tuple[Task, Mapping[str, Any], Backbone, Plan]:
        from tlcore.randomness import seeded

        recipe = self.recipe
        task = recipe.task.spec.build(recipe.task.options)
        task_state = task.fit([example.label for example in dataset.split("train")])
        for split in SPLITS:
            with _placed(f"in the {split} split"):
                task.encode([example.label for example in dataset.split(split)])
        # Initial weights, where a plugin draws any, come from torch's global generator: a seed of their own for each.
        with seeded(recipe.seed, "backbone"):
            backbone = recipe.backbone.spec.build(recipe.backbone.options, None)
        with seeded(recipe.seed, "adapter"):
            plan = recipe.adapter.spec.build(recipe.adapter.options).plan(backbone, task.outputs)
        return task, task_state, backbone, plan

    def _trained(
        self,
        accelerator: Accelerator,
        dataset: Dataset,
        task: Task,
        task_state: Mapping[str, Any],
        backbone: Backbone,
        plan: Plan,
        began: float,
    ) -> Result:
        from tlcore.artifact import save
        from tlcore.training.checkpoints import Checkpoints
        from tlcore.training.loop import Trainer
        from tlcore.training.network import Upper

        about = about_backbone(self.plain["backbone"]["name"], backbone, plan)
        frozen = frozen_digest(backbone, plan.freeze_line)
        with self.clock.phase("features"):
            reader = self._first_pass(accelerator, dataset, backbone, plan)
        upper = Upper(backbone, plan)
        about |= parameter_counts(backbone, upper)
        checkpoints = Checkpoints(self.folder / "checkpoints")
        train, validation = dataset.split("train"), dataset.split("validation")
        with self.clock.phase("training"):
            trainer = Trainer(upper, plan, reader, task, self.recipe.train, accelerator, self.recipe.seed)
            trainer.fit_standardisation(train)
            training = trainer.train(train, validation, checkpoints, self._epoch_finished)
        if frozen_digest(backbone, plan.freeze_line) != frozen:
            raise TLError("the frozen part of the network changed while the rest was trained; please report this")
        with self.clock.phase("evaluation"):
            metrics, tables, mistakes = self._evaluated(trainer, task, dataset)
        metrics |= {
            "best_epoch": training.best_epoch,
            "selection": {"metric": task.selection.metric, "higher_is_better": task.selection.higher_is_better},
        }
        with self.clock.phase("saving"):
            save(self.folder / "model", self.recipe, task_state, backbone, upper, kind_of_inputs(dataset))
        features = {"computed": len(dataset.examples) if plan.freeze_line else 0, "reused": 0}
        manifest = self._manifest(accelerator, dataset, about, features)
        for name, table in tables.items():
            self._write_table(name, table)
        self._write("metrics.json", _json(metrics))
        self._write("manifest.json", _json(manifest))
        checkpoints.clear()
        self._tell(
            "tl_run_finished",
            RunFinished(
                folder=self.folder,
                recipe=self.plain,
                metrics=metrics,
                history=tuple(training.history),
                tables=tables,
                manifest=manifest,
                problems=tuple(dataset.problems),
                mistakes=tuple(mistakes),
                notes=tuple(dataset.notes),
            ),
        )
        return Result(self.folder, metrics, round(time.perf_counter() - began, 3), features)

    def _first_pass(self, accelerator: Accelerator, dataset: Dataset, backbone: Backbone, plan: Plan) -> StateReader:
        from tlcore.features.first_pass import first_pass

        phase = "computing features below the line" if plan.freeze_line else "checking every example"
        examples = [example for split in SPLITS for example in dataset.split(split)]
        reader, problems = first_pass(
            backbone,
            plan.freeze_line,
            examples,
            accelerator,
            self.folder / "features",
            lambda done, total: self.progress(phase, done, total),
        )
        found = [*dataset.problems, *problems]
        self._write("problems.jsonl", "".join(_json_line(_problem_record(problem)) for problem in found))
        require_few_problems(found, len(examples) - len(problems), self.recipe.data.max_bad)
        dataset.drop(problems)
        for split, count in dataset.counts().items():
            if not count:
                raise DataError(
                    f"no example of the {split} split could be read", where=str(self.folder / "problems.jsonl")
                )
        return reader

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
                tables = evaluation.tables
                mistakes = worst_mistakes(task, examples, outputs, targets, self.recipe.evaluate.mistakes)
        write_predictions(self.folder / "predictions.parquet", columns)
        return metrics, tables, mistakes

    def _epoch_finished(self, epoch: int, record: Mapping[str, Any]) -> None:
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(_json_line(record))
        epochs = self.recipe.train.epochs
        event = EpochFinished(folder=self.folder, recipe=self.plain, epoch=epoch, epochs=epochs, record=record)
        self._tell("tl_epoch_finished", event)

    def _manifest(
        self, accelerator: Accelerator, dataset: Dataset, about: Mapping[str, Any], features: Mapping[str, int]
    ) -> dict[str, Any]:
        from tlcore import __version__

        return {
            "tlcore": __version__,
            "versions": {"python": platform.python_version(), **library_versions()},
            "plugins": {plugin.name: f"{plugin.distribution} {plugin.version}" for plugin in self.host.plugins},
            "seed": self.recipe.seed,
            "device": str(accelerator.device),
            "precision": {"no": "fp32"}.get(accelerator.mixed_precision, accelerator.mixed_precision),
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

    def _write(self, name: str, text: str) -> None:
        publish_file(self.folder / name, text)

    def _write_table(self, name: str, table: Table) -> None:
        from tlcore.evaluation.predictions import csv_text

        if not name.replace("-", "").replace("_", "").isalnum():
            raise PluginError(f"the task named a table {name!r}; a name has letters, digits, - and _ only")
        self._write(f"{name}.csv", csv_text(table))

    def _tell(self, hook: str, event: Any) -> None:
        self.host.notify(hook, event, self.warn)


@contextlib.contextmanager
def _placed(where: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise DataError(
            error.what, where=f"{where}; {error.where}" if error.where else where, hint=error.hint
        ) from error


def _require_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} exists and is not empty; a run overwrites nothing", hint="name another folder with --out"
        )


def _new_folder(out: Path | None, name: str, started: datetime.datetime) -> Path:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        return out
    parent = Path("runs") / name
    parent.mkdir(parents=True, exist_ok=True)
    stamp = started.strftime("%Y-%m-%dT%H-%M-%S")
    for attempt in range(1, 1000):
        folder = parent / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise UsageError(f"too many runs in {parent} within one second")


def _problem_record(problem: Problem) -> dict[str, Any]:
    return {"id": problem.id, "reason": problem.reason, "skipped": problem.skipped}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_line(value: Any) -> str:
    return json.dumps(value, allow_nan=False) + "\n"
