"""The only training loop: order, dropout and augmentation are functions of (seed, epoch, step, rank, example)."""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tlcore.contracts import Example, Plan, Task
from tlcore.errors import NumericError, PluginError, TLError
from tlcore.features.readers import HeldStates, StateReader, reading_ahead
from tlcore.features.throughput import Throughput
from tlcore.randomness import generator, seeded
from tlcore.recipe import TrainSection
from tlcore.training.averaging import WeightAverage
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.head_solver import PENALTIES, solve_head
from tlcore.training.inference import by_length, in_batches, moved, outputs_of
from tlcore.training.lr_range import LearningRateRange, range_test
from tlcore.training.network import Upper
from tlcore.training.optimizers import optimizer_for
from tlcore.training.schedules import Schedule
from tlcore.training.steps import Stepper, training_batches
from tlcore.training.team import Team

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

__all__ = ["Trainer", "Training"]

WINDOW = 50
"""Texts are sorted by length within so many batches: little is padding, and an epoch's batches stay drawn by chance."""
HEAD_BATCH = 4096
"""So many stored features are read at once where nothing but the head is above the line."""


@dataclass
class Training:
    """How training went: one record for each epoch, and which was the best (from 1)."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = math.nan


@dataclass(frozen=True)
class _Targets:
    """What is to be predicted of each example."""

    encoded: Tensor
    rows: Mapping[str, int]

    def of(self, ids: Sequence[str]) -> Tensor:
        return self.encoded[torch.tensor([self.rows[id_] for id_ in ids])]


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
    ) -> None:
        self.accelerator = accelerator
        self.task = task
        self.reader = reader
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
        )
        self.throughput = Throughput()
        """How fast the steps of all epochs went, and how long they waited for their examples."""
        self._average = WeightAverage(upper.parts(), section.ema) if section.ema is not None else None

    def fit_standardisation(self, examples: Sequence[Example], keep: int = 0) -> Tensor:
        """Measure the features of the training split before anything is trained.

        Return the features of the first ``keep`` examples, standardised, on the CPU.
        """
        kept: list[Tensor] = []

        def parts() -> Iterator[Tensor]:
            left = keep
            for part in self.features(examples):
                if left > 0:
                    kept.append(part[:left])
                    left -= len(kept[-1])
                yield part

        self.bare.standardise.fit(parts())
        return self._standardised(torch.cat(kept)) if kept else torch.empty(0)

    def features(self, examples: Sequence[Example]) -> Iterator[Tensor]:
        """Yield the pooled features (…, feature_dim) of examples in their order, as the network gives them now."""
        size = 64 * self.team.size if self.bare.names else HEAD_BATCH
        batches = in_batches([example.id for example in examples], size)
        with reading_ahead(self.reader, list(map(self.team.own_of_joined, batches)) if self.bare.names else batches):
            for batch in batches:
                yield self.team.joined(batch, self._pooled) if self.bare.names else self._pooled(batch)

    def _pooled(self, ids: Sequence[str]) -> Tensor:
        with self.accelerator.autocast():
            return self.bare.pooled(self.reader, ids, self.accelerator.device)

    def standardised(self, examples: Sequence[Example]) -> Iterator[Tensor]:
        """Yield what the head sees of examples in their order, on the CPU."""
        yield from map(self._standardised, self.features(examples))

    def _standardised(self, features: Tensor) -> Tensor:
        standardised: Tensor = self.bare.standardise(features.to(self.accelerator.device)).cpu()
        return standardised

    def hold(self, examples: Sequence[Example], most_bytes: float) -> None:
        """Keep the features of these examples in memory, where only the head is trained and they fit."""
        size = len(examples) * self.bare.standardise.mean.numel() * 4
        if self.bare.names or getattr(self.reader, "changing", True) or size > most_bytes:
            return
        features = torch.empty(len(examples), self.bare.standardise.mean.numel())
        start = 0
        for part in self.features(examples):
            features[start : start + len(part)] = part
            start += len(part)
        features = features.to(self.accelerator.device)
        self.reader = HeldStates(features, [example.id for example in examples], self.reader)

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
        self.bare.enter_epoch(self.section.epochs - 1)
        found = range_test(step)
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
    ) -> Training:
        """Train for the recipe's epochs, then go back to the epoch that was best on the validation split.

        Ties go to the earlier epoch. The reloaded model is scored again and must score the same.

        Raises:
            NumericError: a loss or gradient that is not finite; no step was taken with it.
        """
        result = Training()
        targets = self._targets(train)
        ids = [example.id for example in train]
        weights = self._sampling_weights(train)
        steps = len(self._batches(ids, weights, "order", 0))
        chosen = self.section.scheduler
        schedule = Schedule(chosen.name, chosen.options, steps_per_epoch=steps, epochs=self.section.epochs)
        with self._threads():
            for epoch in range(self.section.epochs):
                started = time.perf_counter()
                loss, lr = self._epoch(epoch, self._batches(ids, weights, "order", epoch), targets, schedule)
                with self._averaged():
                    record = self._judged(result, {"loss": loss}, lr, steps, validation, checkpoints, started)
                schedule.epoch_ended(improved=record["best"])
                epoch_finished(epoch + 1, record)
                if self.section.early_stopping and epoch + 1 - result.best_epoch >= self.section.early_stopping:
                    break
            self._back_to_best(result, checkpoints, validation)
        return result

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
        result = Training()
        encoded = self.task.encode([example.label for example in train])
        device = self.accelerator.device

        def examples() -> Iterator[tuple[Tensor, Tensor]]:
            start = 0
            for features in self.features(train):
                part = encoded[start : start + len(features)]
                start += len(features)
                yield self.bare.standardise(features.to(device)), part.to(device)

        for number, penalty in enumerate(PENALTIES):
            started = time.perf_counter()
            loss = solve_head(self.bare.head, examples, self.task.loss, penalty)
            if not math.isfinite(loss):
                raise NumericError("the loss of the solved head is not finite", hint="look at the training examples")
            record = self._judged(result, {"loss": loss, "l2": penalty}, 0.0, 1, validation, checkpoints, started)
            epoch_finished(number + 1, record)
        self._back_to_best(result, checkpoints, validation)
        return result

    def _judged(
        self,
        result: Training,
        told: Mapping[str, float],
        lr: float,
        steps: int,
        validation: Sequence[Example],
        checkpoints: Checkpoints,
        started: float,
    ) -> dict[str, Any]:
        """Score an epoch, keep it where it is the best so far, and add its record to the history."""
        epoch = len(result.history) + 1
        self.team.agree_on_buffers(self.bare)
        scores = self.scores(validation)
        score = self._selected(scores)
        better = math.isnan(result.best_score) or self._improves(score, result.best_score)
        if better:
            result.best_epoch, result.best_score = epoch, score
            checkpoints.save(self.bare, {"epoch": epoch, "step": epoch * steps, "seed": self.seed})
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
        if self.bare.names or self.accelerator.device.type != "cpu":
            yield
            return
        count = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(count)

    def outputs(self, examples: Sequence[Example]) -> Tensor:
        """Return the outputs (N, outputs) for examples in their order, fp32 on the CPU."""

        def compute(ids: Sequence[str]) -> Tensor:
            return outputs_of(self.upper, self.reader, ids, self.accelerator)

        ids = [example.id for example in examples]
        return self.team.joined(ids, compute) if self.bare.names else compute(ids)

    def scores(self, examples: Sequence[Example]) -> Mapping[str, Any]:
        """Return the task's metrics on these examples."""
        targets = self.task.encode([example.label for example in examples])
        return self.task.evaluate(self.outputs(examples), targets).metrics

    def _epoch(
        self, epoch: int, batches: Sequence[Sequence[str]], targets: _Targets, schedule: Schedule
    ) -> tuple[float, float]:
        self.bare.enter_epoch(epoch)
        total, lr, count = 0.0, 0.0, sum(map(len, batches))
        parts = [part for ids in batches for part in self._stepper.parts(ids)]
        with self.throughput.working(), reading_ahead(self.reader, parts, epoch):
            for number, ids in enumerate(batches):
                step = epoch * len(batches) + number
                lr = self.lr * schedule.factor(step)
                for group in self.optimizer.param_groups:
                    group["lr"] = group["lr_scale"] * lr
                total += self._step(ids, targets, epoch, step) * len(ids)
                if self._average is not None:
                    self._average.update()
        self.throughput.examples += count
        return total / count, lr

    def _step(self, ids: Sequence[str], targets: _Targets, epoch: int, step: int) -> float:
        def loss(part: Sequence[str]) -> Tensor:
            return self._loss(part, targets.of(part), epoch, step)

        with seeded(self.seed, "dropout", epoch, step, self.team.rank):
            return self._stepper.take(ids, loss, step)

    def _loss(self, ids: Sequence[str], targets: Tensor, epoch: int, step: int) -> Tensor:
        with self.throughput.waiting():
            state = self.reader.batch(ids, epoch)
        if self.section.mix:
            drawn = generator(self.seed, "mix", step, *ids)
            if float(torch.rand((), generator=drawn)) < self.section.mix:
                state, targets = self.bare.mix(state, self._shares(targets), drawn)
        state = moved(state, self.accelerator.device)
        return self.task.loss(self.upper(state), targets.to(self.accelerator.device))

    def _shares(self, targets: Tensor) -> Tensor:
        """Return targets that can be blended: an index becomes a share of one for its output."""
        if targets.is_floating_point():
            return targets
        return torch.nn.functional.one_hot(targets, self.task.outputs).float()

    def _targets(self, examples: Sequence[Example]) -> _Targets:
        encoded = self.task.encode([example.label for example in examples])
        return _Targets(encoded, {example.id: row for row, example in enumerate(examples)})

    def _sampling_weights(self, examples: Sequence[Example]) -> Tensor | None:
        """Return how often each example is drawn, where the task wishes for more than once each."""
        weigh = getattr(self.task, "sampling_weights", None)
        weights = weigh([example.label for example in examples]) if callable(weigh) else None
        return None if weights is None else torch.as_tensor(weights, dtype=torch.float64)

    def _batches(self, ids: Sequence[str], weights: Tensor | None, purpose: str, number: int) -> list[Sequence[str]]:
        drawn = generator(self.seed, purpose, number)
        if weights is None:
            order = torch.randperm(len(ids), generator=drawn)
        else:
            order = torch.multinomial(weights, len(ids), replacement=True, generator=drawn)
        size = self.section.batch_size * self.section.accumulate
        drawn_ids = [ids[n] for n in order.tolist()]
        windows = in_batches(drawn_ids, size * WINDOW)
        sorted_ids = [window[place] for window in windows for place in by_length(self.reader, window)]
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

    def _back_to_best(self, result: Training, checkpoints: Checkpoints, validation: Sequence[Example]) -> None:
        self.team.wait()  # until it is written
        position = checkpoints.load(self.bare)
        again = self._selected(self.scores(validation))
        if position["epoch"] != result.best_epoch or abs(again - result.best_score) > 1e-9:
            raise TLError(
                f"the reloaded best epoch scores {again}, not {result.best_score}", hint="please report this as a bug"
            )

    def _selected(self, scores: Mapping[str, Any]) -> float:
        name = self.task.selection.metric
        if name not in scores:
            raise PluginError(f"the task selects by {name!r} but evaluates {', '.join(scores)}")
        score = float(scores[name])
        if not math.isfinite(score):
            raise NumericError(f"{name} on the validation split is {score}", hint="try a smaller learning rate")
        return score

    def _improves(self, score: float, best: float) -> bool:
        return score > best if self.task.selection.higher_is_better else score < best
