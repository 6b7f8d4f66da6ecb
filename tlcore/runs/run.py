"""One run from recipe to report: every part in its order, each told only what it needs."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import functools
import gc
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tlcore.contracts import SPLITS, EpochFinished, Plan, RunFinished, RunStarted, Table, Task
from tlcore.data.dataset import Dataset, require_few_problems
from tlcore.errors import (
    DataError,
    Interrupted,
    LostError,
    PluginError,
    ResourceError,
    TLError,
)
from tlcore.files.disk import NO_SPACE, room
from tlcore.files.run_folder import RunFolder, open_to_others, require_free
from tlcore.minimum_versions import require_floors
from tlcore.notes import note, noted
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.plugins.validation import encoded
from tlcore.recipe import Recipe, plain, read_recipe, recipe_yaml
from tlcore.runs.components import Parts, dataset_of, early_line_of, parts_of
from tlcore.runs.disk_estimate import run_size
from tlcore.runs.provenance import (
    about_backbone,
    class_counts,
    data_digest,
    frozen_digest,
    kind_of_inputs,
    library_versions,
    parameter_counts,
    peak_memory,
    processor,
    run_identity,
)
from tlcore.runs.resume import Earlier, threads_so_far
from tlcore.runs.signals import Stopping
from tlcore.runs.state import begin, begun_with, end, owned, require_unfinished
from tlcore.weights.lock import lock_beside

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlcore.features.precompute import PrecomputedFeatures
    from tlcore.runs.precompute import FeaturePlanner
    from tlcore.training.checkpoints import Checkpoints
    from tlcore.training.loop import EarlyReading, Trainer
    from tlcore.training.state import Begun, Training

__all__ = ["Progress", "Result", "resume", "run"]

ErrorT = TypeVar("ErrorT", bound=TLError)
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
    stopping: Stopping | None = None,
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
    one = _Run(recipe, registry, progress, warn, stopping or Stopping(), lock)
    return one.execute(Path(out) if out is not None else None)


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
    """Go on with an unfinished run where its newest sound checkpoint stands, to the bits of an unbroken one.

    It goes on in the working directory in which it began. A recipe, data, weights, libraries or a number of processes
    other than those it began with are refused, unless ``allow_changed``.

    Raises:
        TLError: there is nothing to go on with, another process is at it, or something changed.
    """
    folder = Path(folder).resolve()
    require_unfinished(folder)
    began = begun_with(folder) or {}
    place = Path(began.get("place", "."))
    registry = registry or Registry(PluginHost())
    with contextlib.chdir(place if place.is_dir() else Path()):
        recipe = read_recipe(folder / "recipe.yaml", registry, overrides)
        lock = Path(began["lock"]) if began.get("lock") else None
        one = _Run(recipe, registry, progress, warn, stopping or Stopping(), lock)
        return one.execute(folder, Earlier(began.get("identity"), allow_changed, began.get("threads", ())))


class _Run:
    """The state of one run between its phases."""

    def __init__(
        self,
        recipe: Recipe,
        registry: Registry,
        progress: Progress,
        warn: Callable[[str], None],
        stopping: Stopping,
        lock: Path | None = None,
    ) -> None:
        self.lock = lock
        self.stopping = stopping
        self.recipe = recipe
        self.plain = plain(recipe)
        self.host = registry.host
        self.progress = progress
        self.warn = warn
        self.clock = _Clock()
        self.started = datetime.datetime.now().astimezone()

    def execute(self, out: Path | None, earlier: Earlier | None = None) -> Result:
        from tlcore.features.workers import explain_worker_exit

        began = time.perf_counter()
        with _uncollected():
            accelerator = self._accelerator()
            from tlcore.distributed.team import Team

        self.team = Team(accelerator)
        if not self.team.leads:
            self.progress, self.warn = _silent_progress, _silent
        elif out is not None and earlier is None:
            require_free(out)
        with contextlib.ExitStack() as held:
            if out is not None and earlier is not None and self.team.leads:
                held.enter_context(owned(out))
                require_unfinished(out)  # again: another process may have ended it while this one began
            with self.clock.phase("data"), _uncollected():
                dataset = dataset_of(self.recipe)
            with self.clock.phase("backbone"), _uncollected(), noted(dataset.notes):
                parts = parts_of(self.recipe, dataset, self.lock)
            self._take_folder(out, earlier, held)
            counts = dataset.counts()
            started = RunStarted(folder=self.folder, recipe=self.plain, counts=counts, notes=tuple(dataset.notes))
            self._tell("tl_run_started", started)
            try:
                with noted(dataset.notes, self.warn), explain_worker_exit(), contextlib.ExitStack() as self.ending:
                    result = self._trained(accelerator, dataset, parts, began, earlier)
            except KeyboardInterrupt:
                if not self.stopping.asked():  # whoever calls from Python hears what Python raised
                    raise
                raise self._told_how_to_go_on(Interrupted("interrupted")) from None
            except (Interrupted, LostError, ResourceError) as error:
                raise self._told_how_to_go_on(error) from error
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                full = ResourceError(
                    f"no space left on the disk: {error.filename or 'a file of the run'} cannot be written",
                    where=room(self.folder),
                    hint="free some space first",
                )
                raise self._told_how_to_go_on(full) from error
            finally:
                if self.team.leads:
                    shutil.rmtree(self.folder / "features", ignore_errors=True)
        return result

    def _take_folder(self, out: Path | None, earlier: Earlier | None, held: contextlib.ExitStack) -> None:
        """Make the run's folder, or take over the one that is there; all processes learn which it is."""
        if self.team.leads:
            goes_on = out is not None and earlier is not None
            parent = Path("runs") / self.recipe.name
            self.files = RunFolder(out) if out is not None and goes_on else RunFolder.made(out, parent, self.started)
            if goes_on:
                self.files.sweep()
            else:
                held.enter_context(owned(self.files.path))
                require_free(self.files.path)  # again: another process may have written there while this one began
                self.files.write("recipe.yaml", recipe_yaml(self.recipe))
                begin(self.files.path, self._begins())
        self.folder = Path(self.team.told(str(self.files.path) if self.team.leads else ""))
        if not self.team.leads:
            self.files = RunFolder(self.folder, writes=False)

    def _told_how_to_go_on(self, error: ErrorT) -> ErrorT:
        if isinstance(error, Interrupted):
            error.exit_code = self.stopping.exit_code
        error.hint = f"go on: tl run --resume {shlex.quote(str(self.folder))}" + (
            f"; {error.hint}" if error.hint else ""
        )
        return error

    def _accelerator(self) -> Accelerator:
        from tlcore.training.device import accelerator_for

        return accelerator_for(self.recipe.train.device, self.recipe.train.precision)

    def _trained(
        self,
        accelerator: Accelerator,
        dataset: Dataset,
        parts: Parts,
        began: float,
        earlier: Earlier | None,
    ) -> Result:
        from tlcore.evaluation.splits import scored_splits
        from tlcore.features.precompute import Reporter
        from tlcore.model.save import require_apart, save
        from tlcore.randomness import seeded
        from tlcore.runs.precompute import FeaturePlanner
        from tlcore.training.checkpoints import Checkpoints
        from tlcore.training.device import precision_of
        from tlcore.training.loop import Trainer
        from tlcore.training.model import Upper

        task, backbone, plan = parts.task, parts.backbone, parts.plan
        about = about_backbone(self.plain["backbone"]["name"], backbone, plan)
        frozen = frozen_digest(backbone, plan.freeze_line)
        sizes = run_size(self.recipe, backbone, plan, self.team.size)
        planner = FeaturePlanner(
            self.recipe,
            dataset,
            backbone,
            own_folder=self.folder / "features",
            reserved=sizes.needed,
            reporter=Reporter(self.progress, self.warn),
        )
        if self.recipe.train.precision == "auto":
            with self.clock.phase("precision"):
                accelerator = planner.choose_precision(accelerator)
        plugins, size = self.host.plugins, self.team.size
        identity = run_identity(self.plain, dataset, about["digest"], plugins, accelerator, processes=size)
        threads = threads_so_far(earlier)
        write_down = functools.partial(self._write_down, {"identity": identity, "threads": threads}, earlier)
        if earlier is None:
            write_down()
        else:
            earlier.require_same(identity)
        self._look_around()
        if self.team.leads:  # the others write nothing
            self.warn(sizes.require_room(self.folder))
        with self.clock.phase("features"):
            found = self._precompute(planner, accelerator, dataset, plan)
            early = self._early_reading(planner, accelerator, dataset, plan, found)
            self.ending.callback(found.reader.close)
        with seeded(self.recipe.seed, "injections"):
            upper = Upper(backbone, plan)
        require_apart(backbone, upper)
        about |= parameter_counts(backbone, upper)
        checkpoints = Checkpoints(self.folder / "checkpoints", writes=self.team.leads, tell=self.warn)
        begun = None
        if earlier is not None:
            begun = earlier.training(self.recipe, self.files, checkpoints, identity, self.team, self.warn)
            if begun is None:
                write_down()
        section, seed, memory = self.recipe.train, self.recipe.seed, self.recipe.features.memory * 1e9
        trainer = Trainer(upper, plan, found.reader, task, section, accelerator, seed, note, early=early, memory=memory)
        metrics, tables = self._found_before(trainer, task, dataset, begun)
        so_far = {"metrics": metrics, "tables": {name: dataclasses.asdict(table) for name, table in tables.items()}}
        with self.clock.phase("training"), self.stopping.gently():
            training = self._taught(trainer, dataset, checkpoints, begun, so_far, write_down)
        if self.stopping.asked():  # while a head was solved, or in the last epoch
            raise Interrupted("interrupted")
        if frozen_digest(backbone, plan.freeze_line) != frozen:
            raise PluginError(
                "the frozen part of the network changed while the rest was trained",
                where=f"adapter {self.plain['adapter']['name']}, backbone {self.plain['backbone']['name']}",
                hint="one of them holds on to weights below the line, or changes them; please report this to its maker",
            )
        with self.clock.phase("evaluation"):
            predictions = self.folder / "predictions.parquet" if self.team.leads else None
            scores, found_tables, mistakes = scored_splits(self.recipe, trainer, task, dataset, predictions)
        selection = {"metric": task.selection.metric, "higher_is_better": task.selection.higher_is_better}
        metrics = {**scores, **metrics, "best_epoch": training.best_epoch, "selection": selection}
        with self.clock.phase("saving"):
            merged = upper.merge()
            kind, precision = kind_of_inputs(dataset), precision_of(accelerator)
            if self.team.leads:
                shutil.rmtree(self.folder / "model", ignore_errors=True)  # of an earlier process, which wrote the same
                save(self.folder / "model", self.recipe, parts.task_state, backbone, upper, kind, merged, precision)
        features = {"computed": found.computed, "reused": found.reused, "stored_bytes": found.stored_bytes}
        manifest = self._manifest(accelerator, dataset, {**about, "why_precision": planner.precision_reason}, features)
        manifest["throughput"] = {"first_pass": found.throughput.facts(), "training": trainer.throughput.facts()}
        self._leave(metrics, {**tables, **found_tables}, manifest)
        self.team.wait()  # until all have read what is cleared away
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
        checkpoints.clear()
        if self.team.leads:
            end(self.folder)
        return Result(self.folder, metrics, round(time.perf_counter() - began, 3), features)

    def _write_down(self, begins: Mapping[str, Any], earlier: Earlier | None) -> None:
        """Write down what the run is done with, once it stands where it begins or goes on."""
        if earlier is not None:
            self.files.write("recipe.yaml", recipe_yaml(self.recipe))
        if self.team.leads:
            begin(self.folder, {**self._begins(), **begins})

    def _look_around(self) -> None:
        """Note where somebody else could change what this run reads again: its own files, and stored states."""
        from tlcore.features.maintenance import cache_root

        stored = [cache_root()] if self.recipe.features.store != "never" else []
        for folder in (self.folder, *stored):
            if danger := open_to_others(folder):
                note(f"{folder} can be changed by others: {danger}")

    def _begins(self) -> dict[str, Any]:
        """Return where the run begins, which who goes on with it must know even if it is killed at once."""
        return {"place": str(Path.cwd()), "lock": str(self.lock.resolve()) if self.lock is not None else None}

    def _leave(self, metrics: Mapping[str, Any], tables: Mapping[str, Table], manifest: Mapping[str, Any]) -> None:
        for name, table in tables.items():
            self.files.write_table(name, table)
        self.files.write_json("metrics.json", metrics)
        self.files.write_json("manifest.json", manifest)

    def _found_before(
        self, trainer: Trainer, task: Task, dataset: Dataset, begun: Begun | None
    ) -> tuple[dict[str, Any], dict[str, Table]]:
        """Return the metrics and tables that stand before the first step: measured now, or by an earlier process."""
        if begun is not None:
            kept = begun.checkpoint.position["found"]
            tables = {
                name: Table(tuple(t["columns"]), tuple(map(tuple, t["rows"]))) for name, t in kept["tables"].items()
            }
            return dict(kept["metrics"]), tables
        with self.clock.phase("probe"):
            metrics = self._probed(trainer, task, dataset)
        if self.recipe.train.lr != "find":
            return metrics, {}
        rates = trainer.find_lr(dataset.split("train"))
        return {**metrics, "lr_find": rates.chosen}, {"lr_find": rates.table()}

    def _taught(
        self,
        trainer: Trainer,
        dataset: Dataset,
        checkpoints: Checkpoints,
        begun: Begun | None,
        so_far: Mapping[str, Any],
        taken_over: Callable[[], None],
    ) -> Training:
        splits = dataset.split("train"), dataset.split("validation")
        work = functools.partial(trainer.solve, *splits, checkpoints)
        if self.recipe.head.solver != "lbfgs":
            work = functools.partial(
                trainer.train,
                *splits,
                checkpoints,
                begun=begun,
                taken_over=taken_over,
                found=so_far,
                stopping=self.stopping.asked,
            )
        return self._with_trackers(lambda told: work(epoch_finished=told))

    def _probed(self, trainer: Trainer, task: Task, dataset: Dataset) -> dict[str, Any]:
        """Measure the features before training: for the standardisation, and for the linear probe if it is wanted."""
        from tlcore.evaluation.probe import linear_probe, sampled

        train = dataset.split("train")
        if not self.recipe.evaluate.probe:
            trainer.fit_standardisation(train)
            return {}
        places = sampled(len(train), trainer.bare.standardise.mean.numel(), self.recipe.seed)
        features = trainer.fit_standardisation(train, places)
        goal = encoded(task, [train[place].label for place in places])
        others = {split: dataset.split(split) for split in ("validation", "test")}
        targets = {split: encoded(task, [example.label for example in found]) for split, found in others.items()}
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

    def _precompute(
        self, planner: FeaturePlanner, accelerator: Accelerator, dataset: Dataset, plan: Plan
    ) -> PrecomputedFeatures:
        examples = [example for split in SPLITS for example in dataset.split(split)]
        found = planner.precompute(plan.freeze_line, accelerator, examples)
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

    def _early_reading(
        self,
        planner: FeaturePlanner,
        accelerator: Accelerator,
        dataset: Dataset,
        plan: Plan,
        found: PrecomputedFeatures,
    ) -> EarlyReading | None:
        """Compute where the first epochs read, if a schedule holds stages back in them; add it to what was found."""
        from tlcore.training.loop import EarlyReading

        at = early_line_of(self.recipe, planner.stages, plan)
        if at is None:
            return None
        names = [*planner.stages, "the head"]
        self.warn(
            f"the line moves once: the first {at.until} epochs read states below {names[at.line]}, "
            f"those after them below {names[plan.freeze_line]}"
        )
        examples = [example for split in SPLITS for example in dataset.split(split)]
        start = (plan.freeze_line, found.reader)
        first = planner.precompute(at.line, accelerator, examples, epochs=at.until, start=start)
        found.computed, found.reused = found.computed + first.computed, found.reused + first.reused
        found.stored_bytes += first.stored_bytes
        return EarlyReading(at, first.reader)

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
            "recipe": self.plain,
            "seed": self.recipe.seed,
            "device": str(accelerator.device),
            "processor": processor(),
            "processes": self.team.size,
            "precision": precision_of(accelerator),
            "backbone": about,
            "data": {"digest": data_digest(dataset)},
            "counts": dataset.counts(),
            "classes": class_counts(dataset),
            "features": dict(features),
            "seconds": self.clock.seconds,
            "peak_memory_bytes": peak_memory(),
            "place": str(Path.cwd()),
            "started": self.started.isoformat(timespec="seconds"),
            "command": f"tl run {shlex.quote(str(self.folder / 'recipe.yaml'))}",
        }

    def _tell(self, hook: str, event: Any) -> None:
        if self.team.leads:
            self.host.notify(hook, copy.deepcopy(event), self.warn)  # whatever is done to it changes no run


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage inside, where nearly all that is made stays: libraries, examples, a network.

    Looking costs a sixth of the time of importing torch.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _silent(text: str) -> None:
    """Say nothing: the leading process does."""


def _silent_progress(phase: str, done: int, total: int) -> None:
    """Show nothing: the leading process does."""
