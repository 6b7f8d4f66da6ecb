"""The only training loop: order, dropout and augmentation are functions of (seed, epoch, step, rank, example)."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tlcore.contracts import Example, Plan, Task
from tlcore.distributed.team import Team
from tlcore.errors import NumericError, TLError, WeightsError
from tlcore.features.freeze_point import EarlyLine
from tlcore.features.readers import STANDARDISED, InMemoryReader, StateReader
from tlcore.features.row_cache import RowCache
from tlcore.features.throughput import Throughput
from tlcore.files.atomic import verify_folder
from tlcore.plugins.errors import broken
from tlcore.plugins.validation import (
    decoded,
    encoded,
    evaluated,
    loss_of,
    mistakes_of,
    require_outputs,
    sampling_weights_of,
)
from tlcore.randomness import generator, seeded
from tlcore.recipe import TrainSection
from tlcore.training.checkpoints import Checkpoint, Checkpoints
from tlcore.training.ema import WeightAverage
from tlcore.training.head_solver import PENALTIES, solve_head
from tlcore.training.inference import by_length, in_batches, moved, outputs_of
from tlcore.training.lr_finder import LearningRateRange, range_test
from tlcore.training.model import Upper
from tlcore.training.nonfinite import require_finite_outputs
from tlcore.training.optimizers import optimizer_for
from tlcore.training.progress import Course, Pace
from tlcore.training.schedules import Schedule
from tlcore.training.state import BEST, Begun, Standing, Training
from tlcore.training.step import Stepper, training_batches
from tlcore.weights.loading import load_exactly

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

__all__ = ["EarlyReading", "Trainer"]

WINDOW = 50
"""Texts are sorted by length within so many batches: little is padding, and an epoch's batches stay drawn by chance."""
AGREEMENT = 50
"""After so many steps, and after each epoch, processes compare their weights."""
REHEARSED = 64
"""Validation examples whose predictions are decoded after the first epoch already."""
HEAD_BATCH = 1024
"""So many stored features are read at once where nothing but the head is above the line."""


@dataclass(frozen=True)
class EarlyReading:
    """Where the first epochs of a schedule read states: at a higher line, above stages that are still held back."""

    at: EarlyLine
    reader: StateReader


class Trainer:
    """Trains the part above the line on the states of a reader."""

    def __init__(
        self,
        upper: Upper,
        plan: Plan,
        reader: StateReader,
        task: Task,
        section: TrainSection,
        accelerator: Accelerator,
        seed: int,
        note: Callable[[str], None] = lambda text: None,
        *,
        early: EarlyReading | None = None,
        memory: float = 0,
    ) -> None:
        """``memory``: so many bytes may be taken for features that only a head is trained on."""
        self.accelerator = accelerator
        self._memory = memory
        self._note = note
        self.task = task
        self.reader = self._later = reader
        self._early = early
        self.section = section
        self.seed = seed
        self.lr = section.optimizer.options.lr if not isinstance(section.lr, float) else section.lr
        self.bare = upper.to(accelerator.device)
        if accelerator.mixed_precision != "no":
            upper.lay_out_for_half_precision()
        optimizer = optimizer_for(
            section.optimizer.name, section.optimizer.options, upper.parts(), plan.parameter_groups, self.lr
        )
        self.team = Team(accelerator)
        # The step adds the gradients of several processes up itself, so that parts may differ in size.
        self.upper = accelerator.prepare_model(upper, evaluation_mode=True)
        self.optimizer = accelerator.prepare_optimizer(optimizer)
        self._stepper = Stepper(
            accelerator,
            self.optimizer,
            part=section.batch_size,
            clip=section.clip,
            fit_memory=section.fit_memory,
            note=note,
            # A head alone is trained by each process by itself: talking about it would take longer.
            team=self.team if upper.names else None,
            network={**upper.parts(), "standardise": upper.standardise},
        )
        self.throughput = Throughput()
        """How fast the steps of all epochs went, and how long they waited for their examples."""
        self._average = WeightAverage(upper.parts(), section.ema) if section.ema is not None else None
        self._read_for(0)

    def _read_for(self, epoch: int) -> None:
        """Read where the states of an epoch are."""
        if self._early is not None and epoch < self._early.at.until:
            self.reader, line = self._early.reader, self._early.at.line
        else:
            self.reader, line = self._later, self.bare.line
        self.bare.enter_at(line)

    def fit_standardisation(self, examples: Sequence[Example], keep: Sequence[int] = ()) -> Tensor:
        """Measure the features of the training split before anything is trained.

        Return the features at the places ``keep``, which ascend, standardised, on the CPU.
        """
        kept = torch.empty(len(keep), self.bare.standardise.mean.numel())
        places = torch.tensor(keep, dtype=torch.int64)

        def parts() -> Iterator[Tensor]:
            start = 0
            for part in self.features(examples):
                first, after = torch.searchsorted(places, torch.tensor([start, start + len(part)])).tolist()
                kept[first:after] = part[places[first:after] - start]
                start += len(part)
                yield part

        self.bare.standardise.fit(parts())
        for part in kept.split(HEAD_BATCH):  # in place: another copy would cost memory
            part.copy_(self._standardised(part))
        return kept

    def features(self, examples: Sequence[Example]) -> Iterator[Tensor]:
        """Yield the pooled features (…, feature_dim) of examples in their order, as the network gives them now."""
        passed = bool(self.bare.passed)
        size = 64 * self.team.size if passed else HEAD_BATCH
        batches = in_batches([example.id for example in examples], size)
        with self.reader.prefetch(list(map(self.team.own_of_joined, batches)) if passed else batches):
            for batch in batches:
                yield self.team.joined(batch, self._pooled) if passed else self._pooled(batch)

    def _pooled(self, ids: Sequence[str]) -> Tensor:
        with self.accelerator.autocast():
            return self.bare.pooled(self.reader, ids, self.accelerator.device)

    def standardised(self, examples: Sequence[Example]) -> Iterator[Tensor]:
        """Yield what the head sees of examples in their order, on the CPU."""
        if isinstance(self.reader, InMemoryReader):
            for batch in in_batches([example.id for example in examples], HEAD_BATCH):
                yield self.reader.batch(batch)[STANDARDISED].cpu()
        else:
            yield from map(self._standardised, self.features(examples))

    def _standardised(self, features: Tensor) -> Tensor:
        standardised: Tensor = self.bare.standardise(features.to(self.accelerator.device)).cpu()
        return standardised

    def _hold(self, examples: Sequence[Example]) -> None:
        """Keep what the head sees of these in memory where it fits and only the head is trained, at first at least."""
        size = len(examples) * self.bare.standardise.mean.numel() * 4
        if self.bare.passed or not self.reader.keep_in_memory or size > self._memory:
            return
        features = torch.empty(len(examples), self.bare.standardise.mean.numel())
        start = 0
        for part in self.standardised(examples):
            features[start : start + len(part)] = part
            start += len(part)
        features = features.to(self.accelerator.device)
        self.reader = InMemoryReader(features, [example.id for example in examples], self.reader)
        if self._early is not None:
            self._early = EarlyReading(self._early.at, self.reader)
        else:
            self._later = self.reader

    def find_lr(self, train: Sequence[Example]) -> LearningRateRange:
        """Measure at which learning rate the loss falls best, take that one, and leave the weights as they were.

        Raises:
            NumericError: the loss falls at no rate.
        """
        weights = copy.deepcopy(self.bare.state_dict())
        fresh = copy.deepcopy(self.optimizer.state_dict())
        targets = self._targets(train)
        batches: list[Sequence[str]] = []

        def step(rate: float, number: int) -> float:
            if not batches:
                batches.extend(self._batches([example.id for example in train], None, "range test", number))
            for group in self.optimizer.param_groups:
                group["lr"] = group["lr_scale"] * rate
            return self._step(batches.pop(), targets, 0, number)

        # What a schedule holds back at first must bear the rate as well.
        self._read_for(self.section.epochs - 1)
        self.bare.enter_epoch(self.section.epochs - 1)
        found = range_test(step)
        self._read_for(0)
        self.bare.load_state_dict(weights)
        self.optimizer.load_state_dict(fresh)
        self.lr = found.chosen
        return found

    def train(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        checkpoints: Checkpoints,
        epoch_finished: Callable[[int, Mapping[str, Any]], None],
        *,
        begun: Begun | None = None,
        taken_over: Callable[[], None] = lambda: None,
        found: Mapping[str, Any] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Training:
        """Train for the recipe's epochs, then go back to the epoch that was best on the validation split.

        Ties go to the earlier epoch. The reloaded model is scored again and must score the same. With ``begun``,
        training goes on where an earlier process stood, to the same bits, and ``taken_over`` is called once it stands
        there. ``found`` (JSON-able) is kept in each checkpoint. Where ``stopping`` says so, a checkpoint is written and
        training ends.

        Raises:
            NumericError: a loss or gradient that is not finite; no step was taken with it.
            Interrupted: it was stopped.
            ResourceError: a checkpoint could not be written.
        """
        if begun is not None:
            self.lr = _rate_of(begun.checkpoint)
        course = self._course(train, checkpoints, found or {}, stopping)
        if begun is not None:
            course.go_on(begun)
            taken_over()
        self._hold([*train, *validation])  # now that the standardisation is there
        while course.position.epoch < self.section.epochs and not self._is_over(course.result):
            epoch, started = course.position.epoch, time.perf_counter()
            self._read_for(epoch)
            with self._threads():
                told, lr = self._epoch(course)
                with self._averaged():
                    record = self._judged(course.result, told, lr, validation, started)
                    if record["best"]:
                        course.found_best(self.bare, averaged=self._average is not None)
            course.schedule.epoch_ended(improved=record["best"])
            epoch_finished(epoch + 1, record)
            course.epoch_ended(last=epoch + 1 == self.section.epochs or self._is_over(course.result))
        self._read_for(course.result.best_epoch - 1)
        with self._threads():
            elsewhere = len(begun.history) if begun is not None and begun.other_data else 0
            self._back_to_best(course.result, checkpoints, validation, as_scored=course.result.best_epoch > elsewhere)
        return course.result

    def _course(
        self,
        train: Sequence[Example],
        checkpoints: Checkpoints,
        found: Mapping[str, Any],
        stopping: Callable[[], bool],
    ) -> Course:
        ids, weights, chosen = [example.id for example in train], self._sampling_weights(train), self.section.scheduler

        def batches(epoch: int) -> list[Sequence[str]]:
            return self._batches(ids, weights, "order", epoch)

        steps = len(batches(0))
        schedule = Schedule(chosen.name, chosen.options, steps_per_epoch=steps, epochs=self.section.epochs)
        optimizer = self.optimizer.optimizer
        team = self.team if self.bare.names else None
        standing = Standing(self.bare, optimizer, schedule, self._average, self.accelerator, team)
        told = {"lr": self.lr, "seed": self.seed, "processes": self.team.size, "found": dict(found)}
        pace = Pace(self.section.checkpoint_steps, self.section.checkpoint_minutes)
        # Processes that train a head each by itself do not talk, and the one that writes decides alone.
        agree = self.team.any if self.bare.names else lambda *flags: list(flags)
        return Course(
            standing, schedule, checkpoints, pace, self._targets(train), batches, steps, told, agree, stopping
        )

    def _is_over(self, result: Training) -> bool:
        """Say whether nothing has improved for as long as the recipe waits."""
        patience = self.section.early_stopping
        return bool(patience and result.history and len(result.history) - result.best_epoch >= patience)

    def solve(
        self,
        train: Sequence[Example],
        validation: Sequence[Example],
        checkpoints: Checkpoints,
        epoch_finished: Callable[[int, Mapping[str, Any]], None],
    ) -> Training:
        """Solve the head to its optimum instead of taking steps, and choose the L2 penalty on the validation split.

        Each penalty counts as an epoch. What lies below the head stays as it is.

        Raises:
            NumericError: a loss that is not finite.
        """
        self._hold([*train, *validation])
        result = Training()
        targets = encoded(self.task, [example.label for example in train])
        device = self.accelerator.device

        def examples() -> Iterator[tuple[Tensor, Tensor]]:
            start = 0
            for features in self.standardised(train):
                part = targets[start : start + len(features)]
                start += len(features)
                yield features.to(device), part.to(device)

        for number, penalty in enumerate(PENALTIES):
            started = time.perf_counter()
            loss = solve_head(self.bare.head, examples, self.task.loss, penalty)
            if not math.isfinite(loss):
                raise NumericError("the loss of the solved head is not finite", hint="look at the training examples")
            record = self._judged(result, {"loss": loss, "l2": penalty}, 0.0, validation, started)
            if record["best"]:
                position = {"step": number, "best_epoch": result.best_epoch}
                checkpoints.save(position, {BEST: self.bare.state_dict()})
            epoch_finished(number + 1, record)
        self._back_to_best(result, checkpoints, validation)
        return result

    def _judged(
        self,
        result: Training,
        told: Mapping[str, float],
        lr: float,
        validation: Sequence[Example],
        started: float,
    ) -> dict[str, Any]:
        """Score an epoch, and add its record to the history."""
        epoch = len(result.history) + 1
        self.team.agree_on_buffers(self.bare)
        if epoch == 1:
            self._rehearse(validation[:REHEARSED])
        scores = self.scores(validation)
        score = self._selected(scores)
        better = math.isnan(result.best_score) or self._improves(score, result.best_score)
        if better:
            result.best_epoch, result.best_score = epoch, score
        record = {
            "epoch": epoch,
            "train": dict(told),
            "validation": {name: value for name, value in scores.items() if isinstance(value, (int, float))},
            "selected": self.task.selection.metric,
            "lr": lr,
            "seconds": round(time.perf_counter() - started, 3),
            "best": better,
        }
        result.history.append(record)
        return record

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        """Compute in one thread where only a head is trained on a processor.

        Its matrices are so small that threads cost more than they bring, many times more where others use the machine.
        """
        if self.bare.passed or self.accelerator.device.type != "cpu":
            yield
            return
        count = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(count)

    def outputs(self, examples: Sequence[Example]) -> Tensor:
        """Return the outputs (N, outputs) for examples in their order, fp32 on the CPU.

        Raises:
            NumericError: one is not finite.
        """

        def compute(ids: Sequence[str]) -> Tensor:
            return outputs_of(self.upper, self.reader, ids, self.accelerator)

        ids = [example.id for example in examples]
        outputs = self.team.joined(ids, compute) if self.bare.passed else compute(ids)
        require_finite_outputs(outputs, ids, self.bare.parts())
        return outputs

    def scores(self, examples: Sequence[Example]) -> Mapping[str, Any]:
        """Return the task's metrics on these examples."""
        targets = encoded(self.task, [example.label for example in examples])
        return evaluated(self.task, self.outputs(examples), targets).metrics

    def _rehearse(self, examples: Sequence[Example]) -> None:
        """Ask the task for what it is else asked for only when all training is behind it.

        Raises:
            PluginError: it cannot say.
        """
        outputs, targets = self.outputs(examples), encoded(self.task, [example.label for example in examples])
        decoded(self.task, outputs)
        mistakes_of(self.task, outputs, targets)

    def _epoch(self, course: Course) -> tuple[dict[str, float], float]:
        """Take the steps that an epoch still lacks; return what there is to tell of it, and its last learning rate."""
        position, epoch, skipped = course.position, course.position.epoch, self._stepper.skipped
        self.bare.enter_epoch(epoch)
        batches = course.batches(epoch)
        ahead = batches[position.batch :]
        parts = [part for ids in ahead for part in self._stepper.parts(ids)]
        course.targets.announce(parts)
        with self.throughput.working(), self.reader.prefetch(parts, epoch):
            for ids in ahead:
                step = epoch * len(batches) + position.batch
                for group in self.optimizer.param_groups:
                    group["lr"] = group["lr_scale"] * self.lr * course.schedule.factor(step)
                position.loss += self._step(ids, course.targets, epoch, step) * len(ids)
                position.batch += 1
                self._agree(step, last=position.batch == len(batches))
                self.throughput.examples += len(ids)
                if self._average is not None:
                    self._average.update()
                course.step_taken()
        self._stepper.require_reached()
        last = (epoch + 1) * len(batches) - 1
        told = {"loss": position.loss / sum(map(len, batches))}
        if skipped := self._stepper.skipped - skipped:
            told["skipped_steps"] = skipped
            self._note(f"epoch {epoch + 1}: {skipped} of its steps were left out, since a gradient overflowed in fp16")
        return told, self.lr * course.schedule.factor(last)

    def _agree(self, step: int, *, last: bool) -> None:
        """See now and then that processes which share their steps still have the same weights."""
        if self.bare.names and (last or (step + 1) % AGREEMENT == 0):
            self.team.require_agreement(step, filter(lambda one: one.requires_grad, self.bare.parameters()))

    def _step(self, ids: Sequence[str], targets: RowCache, epoch: int, step: int) -> float:
        def loss(part: Sequence[str]) -> Tensor:
            return self._loss(part, targets.of(part), epoch, step)

        def drawing() -> contextlib.AbstractContextManager[None]:
            # Those that share a step see other examples; those that train a head each by itself must draw the same.
            return seeded(self.seed, "dropout", epoch, step, self.team.rank if self.bare.names else 0)

        if not self.bare.passed and type(self.bare.head) is torch.nn.Linear:  # nothing in it draws by chance
            return self._stepper.take(ids, loss, step)
        return self._stepper.take(ids, loss, step, drawing)

    def _loss(self, ids: Sequence[str], targets: Tensor, epoch: int, step: int) -> Tensor:
        with self.throughput.waiting():
            state = self.reader.batch(ids, epoch)
        if self.section.mix:
            drawn = generator(self.seed, "mix", step, *ids)
            if float(torch.rand((), generator=drawn)) < self.section.mix:
                state, targets = self.bare.mix(state, self._shares(targets), drawn)
        state = moved(state, self.accelerator.device)
        # A head computes in fp32, and to go through what Accelerate put around the whole takes as long as its step.
        outputs = self.bare.head(state[STANDARDISED]) if STANDARDISED in state else self.upper(state)
        require_outputs(outputs, len(ids), self.task, self.bare.backbone)
        return loss_of(self.task, outputs, targets.to(self.accelerator.device))

    def _shares(self, targets: Tensor) -> Tensor:
        """Return targets that can be blended: an index becomes a share of one for its output."""
        if targets.is_floating_point():
            return targets
        return torch.nn.functional.one_hot(targets, self.task.outputs).float()

    def _targets(self, examples: Sequence[Example]) -> RowCache:
        targets = encoded(self.task, [example.label for example in examples])
        return RowCache(targets, {example.id: row for row, example in enumerate(examples)})

    def _sampling_weights(self, examples: Sequence[Example]) -> Tensor | None:
        """Return how often each example is drawn, where the task wishes for more than once each."""
        return sampling_weights_of(self.task, [example.label for example in examples])

    def _batches(self, ids: Sequence[str], weights: Tensor | None, purpose: str, number: int) -> list[Sequence[str]]:
        drawn = generator(self.seed, purpose, number)
        if weights is None:
            order = torch.randperm(len(ids), generator=drawn)
        else:
            order = torch.multinomial(weights, len(ids), replacement=True, generator=drawn)
        size = self.section.batch_size * self.section.accumulate
        drawn_ids = [ids[n] for n in order.tolist()]
        windows = in_batches(drawn_ids, size * WINDOW)
        # By the plan's own line, so that the order is the same whatever is stored and wherever an epoch reads.
        sorted_ids = [window[place] for window in windows for place in by_length(self._later, window)]
        batches = training_batches(sorted_ids, size)
        if sorted_ids == drawn_ids:
            return batches
        return [batches[n] for n in torch.randperm(len(batches), generator=drawn).tolist()]

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        if self._average is None:
            yield
        else:
            with self._average.in_place():
                yield

    def _back_to_best(
        self, result: Training, checkpoints: Checkpoints, validation: Sequence[Example], *, as_scored: bool = True
    ) -> None:
        """Load the best epoch, and see that it scores what it did, if it was on these examples (``as_scored``)."""
        self.team.wait()  # until it is written
        newest = checkpoints.newest
        if newest is None:
            raise WeightsError("no checkpoint was written", where=str(checkpoints.folder))
        folder = Path(self.team.told(str(newest.folder)))
        verify_folder(folder)
        load_exactly(self.bare, Checkpoint(folder, newest.position).tensors(BEST), source=str(folder))
        again = self._selected(self.scores(validation))
        if as_scored and abs(again - result.best_score) > 1e-9:
            if self._selected(self.scores(validation)) != again:
                raise broken(self.task, "evaluate", "gives other scores whenever it is asked for the same outputs")
            raise TLError(
                f"the reloaded best epoch scores {again}, not {result.best_score}", hint="please report this as a bug"
            )

    def _selected(self, scores: Mapping[str, Any]) -> float:
        name = self.task.selection.metric
        return float(scores[name])

    def _improves(self, score: float, best: float) -> bool:
        return score > best if self.task.selection.higher_is_better else score < best


def _rate_of(checkpoint: Checkpoint) -> float:
    rate = checkpoint.position.get("lr")
    if not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
        raise WeightsError(
            "the checkpoint is damaged: it does not say its learning rate",
            where=str(checkpoint.folder),
            hint="remove its folder to go on from the checkpoint before it, or start a new run",
        )
    return float(rate)
