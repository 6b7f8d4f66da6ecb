"""The training loop: order, dropout and augmentation are functions of (seed, epoch, step, rank, example)."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlcore.contracts import Example, State, Task
from tlcore.distributed.team import Team
from tlcore.errors import WeightsError
from tlcore.features.readers import STANDARDISED, StateReader
from tlcore.features.throughput import Throughput
from tlcore.files.atomic import verify_folder
from tlcore.notes import note
from tlcore.plugins.validation import loss_of, require_outputs
from tlcore.randomness import generator, seeded
from tlcore.recipe import TrainSection
from tlcore.training.checkpoints import Checkpoint, Checkpoints
from tlcore.training.data import EarlyReader, EpochReaders, TrainingData
from tlcore.training.device import single_thread
from tlcore.training.ema import ModelEMA
from tlcore.training.evaluator import Evaluator
from tlcore.training.head import HeadFeatures
from tlcore.training.model import TrainableModel
from tlcore.training.optimizers import optimizer_for
from tlcore.training.progress import TrainingProgress
from tlcore.training.schedules import Schedule
from tlcore.training.state import BEST, ResumePoint, TrainerState, TrainingResult
from tlcore.training.step import TrainStep
from tlcore.weights.loading import load_exactly

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

__all__ = ["Trainer", "TrainerConfig"]

WEIGHT_CHECK_STEPS = 50
"""After so many steps, and after each epoch, processes compare their weights."""


@dataclass(frozen=True)
class TrainerConfig:
    """The recipe's section ``train``, the run's seed, and the bytes of features that may be kept in memory."""

    train: TrainSection
    seed: int
    cache_bytes: float = 0


class Trainer:
    """Trains the stages after the freeze point and the head on the states of a reader."""

    def __init__(
        self,
        model: TrainableModel,
        reader: StateReader,
        task: Task,
        accelerator: Accelerator,
        config: TrainerConfig,
        early: EarlyReader | None = None,
    ) -> None:
        section = config.train
        self.task = task
        self.accelerator = accelerator
        self.config = config
        self.section = section
        self.lr = section.lr if isinstance(section.lr, float) else section.optimizer.options.lr
        self.unwrapped = model.to(accelerator.device)
        if accelerator.mixed_precision != "no":
            model.use_channels_last()
        optimizer = optimizer_for(
            section.optimizer.name, section.optimizer.options, model.parts(), model.plan.parameter_groups, self.lr
        )
        # The step adds up the gradients of several processes itself, so that their shares may differ in size.
        self.model = accelerator.prepare_model(model, evaluation_mode=True)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self.team = Team(accelerator)
        # Each process trains a head by itself: to communicate would take longer than the steps.
        self.step_team = Team(accelerator, shared=bool(model.stage_names))
        modules = {**model.parts(), "standardise": model.standardise}
        self.train_step = TrainStep(accelerator, self.optimizer, section, modules, self.step_team)
        self.trained = torch.nn.ModuleList(model.parts().values())
        self.ema = ModelEMA(self.trained, section.ema) if section.ema is not None else None
        self.readers = EpochReaders(model, reader, early)
        self.features = HeadFeatures(model, self.readers, accelerator, self.team)
        self.evaluator = Evaluator(model, self.model, self.readers, task, accelerator, self.team)
        self.throughput = Throughput()

    def train(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        checkpoints: Checkpoints,
        on_epoch_end: Callable[[int, Mapping[str, Any]], None],
        *,
        resume_from: ResumePoint | None = None,
        on_resumed: Callable[[], None] = lambda: None,
        metadata: Mapping[str, Any] | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> TrainingResult:
        """Train for the recipe's epochs, then load the epoch that was best on the validation split.

        The earlier of two equal epochs is the best one; it must have the same score again. ``metadata`` (JSON-able) is
        kept in each checkpoint.

        Raises:
            NumericError: a loss or gradient is not finite; no step was taken with it.
            Interrupted: ``stop_requested`` returned true; a checkpoint was written.
            ResourceError: a checkpoint could not be written.
        """
        self.setup(train, checkpoints, metadata or {}, stop_requested)
        if resume_from is not None:
            self.load(resume_from)
            on_resumed()
        self.features.cache([*train, *validation], self.config.cache_bytes)
        progress = self.progress
        while not progress.is_finished:
            epoch, started = progress.position.epoch, time.perf_counter()
            self.readers.set_epoch(epoch)
            with self._threads():
                metrics, lr = self.train_epoch(epoch)
                record = self.evaluate(validation, metrics, lr, started)
            self.schedule.on_epoch_end(improved=record["best"])
            on_epoch_end(epoch + 1, record)
            self._save_if(progress.on_epoch_end(self.unwrapped))
        self.readers.set_epoch(progress.result.best_epoch - 1)
        with self._threads():
            self.load_best(checkpoints)
            scored_on_other_data = len(resume_from.history) if resume_from and resume_from.other_data else 0
            if progress.result.best_epoch > scored_on_other_data:
                self.evaluator.require_score(validation, progress.result.best_score)
        return progress.result

    def setup(
        self,
        train: Sequence[Example],
        checkpoints: Checkpoints,
        metadata: Mapping[str, Any],
        stop_requested: Callable[[], bool],
    ) -> None:
        """Prepare the batches, the schedule, and what checkpoints contain."""
        self.data = self.data_of(train)
        steps, scheduler = len(self.data.batches(0)), self.section.scheduler
        self.schedule = Schedule(scheduler.name, scheduler.options, steps_per_epoch=steps, epochs=self.section.epochs)
        self.checkpoints = checkpoints
        self.metadata = metadata
        self.state = TrainerState(
            self.unwrapped, self.optimizer.optimizer, self.schedule, self.ema, self.accelerator.scaler, self.step_team
        )
        self.progress = TrainingProgress(steps, self.section, self.step_team, stop_requested)

    def data_of(self, train: Sequence[Example]) -> TrainingData:
        """Return the training split in batches of one optimizer step."""
        size = self.section.batch_size * self.section.accumulate
        return TrainingData(train, self.task, self.readers, size, self.config.seed)

    def train_epoch(self, epoch: int) -> tuple[dict[str, float], float]:
        """Take the steps that are left of an epoch; return its training metrics and its last learning rate."""
        position, skipped = self.progress.position, self.train_step.skipped
        self.unwrapped.begin_epoch(epoch)
        batches = self.data.batches(epoch)
        factors = [self.schedule.factor(epoch * len(batches) + n) for n in range(len(batches))]
        remaining = batches[position.batch :]
        microbatches = [microbatch for ids in remaining for microbatch in self.train_step.microbatches(ids)]
        self.data.targets.announce(microbatches)
        with self.throughput.working(), self.readers.current.prefetch(microbatches, epoch):
            for ids in remaining:
                step = epoch * len(batches) + position.batch
                self.set_lr(self.lr, factors[position.batch])
                position.loss += self.step(ids, epoch, step) * len(ids)
                position.batch += 1
                if position.batch == len(batches) or (step + 1) % WEIGHT_CHECK_STEPS == 0:
                    self.train_step.require_same_weights(step)
                self.throughput.examples += len(ids)
                if self.ema is not None:
                    self.ema.update_parameters(self.trained)
                self._save_if(self.progress.on_step_end())
        self.train_step.require_gradients()
        metrics = {"loss": position.loss / sum(map(len, batches))}
        if skipped := self.train_step.skipped - skipped:
            metrics["skipped_steps"] = skipped
            note(f"epoch {epoch + 1}: {skipped} steps skipped because a gradient overflowed in fp16")
        return metrics, self.lr * factors[-1]

    def step(self, ids: Sequence[str], epoch: int, step: int) -> float:
        """Take one step; return its loss."""

        def loss(microbatch: Sequence[str]) -> Tensor:
            return self.compute_loss(microbatch, epoch, step)

        def randomness() -> contextlib.AbstractContextManager[None]:
            return seeded(self.config.seed, "dropout", epoch, step, self.step_team.rank)

        if not self.unwrapped.active_stages and type(self.unwrapped.head) is torch.nn.Linear:  # nothing in it is random
            return self.train_step.step(ids, loss, step)
        return self.train_step.step(ids, loss, step, randomness)

    def compute_loss(self, ids: Sequence[str], epoch: int, step: int) -> Tensor:
        """Return the mean loss of a microbatch: read, mix, forward."""
        started = time.perf_counter()
        state = self.readers.current.batch(ids, epoch)
        self.throughput.waited += time.perf_counter() - started
        targets = self.data.targets.of(ids)
        if self.section.mix:
            state, targets = self._mixed(state, targets, ids, step)
        device = self.accelerator.device
        state = {name: tensor.to(device) for name, tensor in state.items()}
        # The head computes in fp32; Accelerate's wrapper of the whole model would take as long as its step.
        outputs = self.unwrapped.head(state[STANDARDISED]) if STANDARDISED in state else self.model(state)
        require_outputs(outputs, len(ids), self.task, self.unwrapped.backbone)
        return loss_of(self.task, outputs, targets.to(device))

    def set_lr(self, lr: float, factor: float = 1.0) -> None:
        """Set the learning rate of the next step; each parameter group scales it."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr_scale"] * lr * factor

    def evaluate(
        self, validation: Sequence[Example], train_metrics: Mapping[str, float], lr: float, started: float
    ) -> dict[str, Any]:
        """Evaluate an epoch, with the averaged weights if there are any; return its record."""
        with self.ema.applied_to(self.trained) if self.ema is not None else contextlib.nullcontext():
            record = self.evaluator.evaluate_epoch(self.progress.result, validation, train_metrics, lr, started)
            if record["best"]:
                self.progress.mark_best(self.unwrapped, copy=self.ema is not None)
        return record

    def save(self) -> None:
        """Write a checkpoint, from which another process resumes to the same bits."""
        started = time.monotonic()
        position = {
            "lr": self.lr,
            "seed": self.config.seed,
            "processes": self.team.size,
            "found": dict(self.metadata),
            **self.progress.state_dict(),
            "scalars": self.state.scalars(),
        }
        best = {} if self.progress.best is None else {BEST: self.progress.best}
        self.checkpoints.save(position, {**self.state.tensors(), **best})
        self.progress.on_saved(started)

    def load(self, point: ResumePoint) -> None:
        """Resume from a checkpoint of an earlier process.

        Raises:
            UsageError: it is within an epoch that has another number of steps now.
            WeightsError: it is damaged, or not a checkpoint of this recipe.
        """
        checkpoint = point.checkpoint
        try:
            self.lr = float(checkpoint.position["lr"])
            if not 0 < self.lr < math.inf:
                raise ValueError(f"its learning rate is {self.lr}")
            self.state.load(checkpoint)
            self.progress.resume(point)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise WeightsError(
                f"the checkpoint is damaged: {type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}",
                where=str(checkpoint.folder),
                hint="remove its folder to resume from the checkpoint before it, or start a new run",
            ) from error

    def load_best(self, checkpoints: Checkpoints) -> None:
        """Load the weights of the best epoch.

        Raises:
            WeightsError: there is no checkpoint, or it is damaged.
        """
        self.team.wait()  # until it is written
        newest = checkpoints.newest
        if newest is None:
            raise WeightsError("no checkpoint was written", where=str(checkpoints.folder))
        folder = Path(self.team.told(str(newest.folder)))
        verify_folder(folder)
        load_exactly(self.unwrapped, Checkpoint(folder, newest.position).tensors(BEST), source=str(folder))

    def _save_if(self, due: bool) -> None:
        if due:
            self.save()
        self.progress.stop_if_requested()

    def _mixed(self, state: State, targets: Tensor, ids: Sequence[str], step: int) -> tuple[State, Tensor]:
        """Mix the examples of a share of the batches, as the backbone does; class indices become one-hot targets."""
        drawn = generator(self.config.seed, "mix", step, *ids)
        if float(torch.rand((), generator=drawn)) >= self.section.mix:
            return state, targets
        if not targets.is_floating_point():
            targets = torch.nn.functional.one_hot(targets, self.task.outputs).float()
        return self.unwrapped.backbone.mix(state, targets, drawn)

    def _threads(self) -> contextlib.AbstractContextManager[None]:
        """Compute in one thread where only a head is trained on a CPU, whose matrices are too small for several."""
        small = not self.unwrapped.active_stages and self.accelerator.device.type == "cpu"
        return single_thread() if small else contextlib.nullcontext()
