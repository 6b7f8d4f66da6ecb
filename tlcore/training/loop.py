"""The loop: position, order and dropout are functions of (seed, epoch, step); the best epoch is what remains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tlcore.contracts import Example, Plan, Task
from tlcore.errors import NumericError, PluginError, TLError
from tlcore.features.first_pass import StateReader
from tlcore.randomness import generator, seeded
from tlcore.recipe import TrainSection
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.inference import in_batches, outputs_of
from tlcore.training.network import Upper
from tlcore.training.optimizers import lr_factor, optimizer_for

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

__all__ = ["Trainer", "Training"]

RANK = 0


@dataclass
class Training:
    """How training went: one record for each epoch, and which was the best (from 1)."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = math.nan


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
    ) -> None:
        self.accelerator = accelerator
        self.task = task
        self.reader = reader
        self.section = section
        self.seed = seed
        self.bare = upper.to(accelerator.device)
        optimizer = optimizer_for(
            section.optimizer.name, section.optimizer.options, upper.parts(), plan.parameter_groups
        )
        self.upper, self.optimizer = accelerator.prepare(upper, optimizer)

    def fit_standardisation(self, examples: Sequence[Example]) -> None:
        """Measure the features of the training split before anything is trained."""
        with self.accelerator.autocast():
            self.bare.fit_standardisation(
                self.reader, in_batches([example.id for example in examples]), self.accelerator.device
            )

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
        targets = dict(zip([e.id for e in train], self.task.encode([e.label for e in train]), strict=True))
        steps = math.ceil(len(train) / self.section.batch_size)
        factor = lr_factor(self.section.scheduler.name, self.section.scheduler.options, steps)
        for epoch in range(self.section.epochs):
            started = time.perf_counter()
            loss, lr = self._epoch(epoch, [example.id for example in train], targets, factor)
            scores = self.scores(validation)
            score = self._selected(scores)
            better = math.isnan(result.best_score) or self._improves(score, result.best_score)
            if better:
                result.best_epoch, result.best_score = epoch + 1, score
                checkpoints.save(self.bare, {"epoch": epoch + 1, "step": (epoch + 1) * steps, "seed": self.seed})
            record = {
                "epoch": epoch + 1,
                "train": {"loss": loss},
                "validation": {name: value for name, value in scores.items() if isinstance(value, (int, float))},
                "lr": lr,
                "seconds": round(time.perf_counter() - started, 3),
                "best": better,
            }
            result.history.append(record)
            epoch_finished(epoch + 1, record)
        position = checkpoints.load(self.bare)
        again = self._selected(self.scores(validation))
        if position["epoch"] != result.best_epoch or abs(again - result.best_score) > 1e-9:
            raise TLError(
                f"the reloaded best epoch scores {again}, not {result.best_score}", hint="please report this as a bug"
            )
        return result

    def outputs(self, examples: Sequence[Example]) -> Tensor:
        """Return the outputs (N, outputs) for examples in their order, fp32 on the CPU."""
        return outputs_of(self.upper, self.reader, [example.id for example in examples], self.accelerator)

    def scores(self, examples: Sequence[Example]) -> Mapping[str, Any]:
        """Return the task's metrics on these examples."""
        targets = self.task.encode([example.label for example in examples])
        return self.task.evaluate(self.outputs(examples), targets).metrics

    def _epoch(
        self, epoch: int, ids: Sequence[str], targets: Mapping[str, Tensor], factor: Callable[[int], float]
    ) -> tuple[float, float]:
        self.bare.enter_epoch(epoch)
        order = torch.randperm(len(ids), generator=generator(self.seed, "order", epoch)).tolist()
        batches = in_batches([ids[n] for n in order], self.section.batch_size)
        total, lr = 0.0, 0.0
        for number, batch in enumerate(batches):
            step = epoch * len(batches) + number
            for group in self.optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor(step)
            lr = self.section.optimizer.options.lr * factor(step)
            with seeded(self.seed, "dropout", epoch, step, RANK):
                total += self._step(batch, torch.stack([targets[id_] for id_ in batch]), step) * len(batch)
        return total / len(ids), lr

    def _step(self, ids: Sequence[str], targets: Tensor, step: int) -> float:
        loss = self.task.loss(self.upper(self._state(ids)), targets.to(self.accelerator.device))
        self._require_finite(loss, "the loss", ids, step)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        if self.accelerator.scaler is None:  # fp16's scaler looks for overflow itself and leaves that step out
            for group in self.optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        self._require_finite(parameter.grad, f"a gradient in {group['part']}", ids, step)
        self.optimizer.step()
        return float(loss.detach())

    def _require_finite(self, value: Tensor, what: str, ids: Sequence[str], step: int) -> None:
        if not bool(torch.isfinite(value).all()):
            raise NumericError(
                f"{what} is not finite at step {step}; the step was not taken",
                where=f"examples: {', '.join(ids)}",
                hint="try a smaller learning rate, `--set train.precision=fp32`, and look at these examples",
            )

    def _state(self, ids: Sequence[str]) -> dict[str, Tensor]:
        from accelerate.utils import send_to_device

        state: dict[str, Tensor] = send_to_device(self.reader.batch(ids), self.accelerator.device)
        return state

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
