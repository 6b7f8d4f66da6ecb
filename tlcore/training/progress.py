"""A training under way: where it stands, what was best, and when that is written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tlcore.errors import Interrupted, UsageError, WeightsError
from tlcore.features.row_cache import RowCache
from tlcore.training.checkpoints import AS_BEFORE, Checkpoints
from tlcore.training.schedules import Schedule
from tlcore.training.state import BEST, MODEL, Begun, Position, Standing, Training

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Course", "Pace"]

AT_MOST_EVERY = 1.0
"""Seconds between checkpoints at the end of epochs that are not the best: repeating less costs less than writing."""
REST = 9
"""So many times as long as it took to write the last one passes before the next: a tenth of the time is enough."""


@dataclass(frozen=True)
class Pace:
    """After how many steps and minutes a checkpoint is written within an epoch."""

    steps: int | None
    minutes: float | None


class Course:
    """One training between its steps."""

    def __init__(
        self,
        standing: Standing,
        schedule: Schedule,
        checkpoints: Checkpoints,
        pace: Pace,
        targets: RowCache,
        batches: Callable[[int], list[Sequence[str]]],
        steps_per_epoch: int,
        told: Mapping[str, Any],
        agree: Callable[..., list[bool]],
        stopping: Callable[[], bool],
    ) -> None:
        self.schedule = schedule
        self.targets = targets
        self.batches = batches
        self.position = Position()
        self.result = Training()
        self._standing = standing
        self._checkpoints = checkpoints
        self._pace = pace
        self._steps = steps_per_epoch
        self._told = told
        self._agree = agree
        self._stopping = stopping
        self._best: Mapping[str, Tensor] | str | None = None
        self._more = 0
        """How many steps more were taken than epochs of today's length have: with other data, or in other batches."""
        self._written = time.monotonic()
        self._took = 0.0

    def go_on(self, begun: Begun) -> None:
        """Take over from an earlier process.

        Raises:
            UsageError: it stands within an epoch, which has another number of steps now.
            WeightsError: the checkpoint holds something else than a training of this recipe leaves.
        """
        try:
            self._take_over(begun)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError) as error:
            raise WeightsError(
                f"the checkpoint is damaged: {type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}",
                where=str(begun.checkpoint.folder),
                hint="remove its folder to go on from the checkpoint before it, or start a new run",
            ) from error

    def _take_over(self, begun: Begun) -> None:
        self._standing.restore(begun.checkpoint)
        kept = begun.checkpoint.position
        self.position = Position(int(kept["epoch"]), int(kept["batch"]), float(kept["loss"]))
        if kept["batch"] and kept["steps_per_epoch"] != self._steps:
            raise UsageError(
                f"the checkpoint stands in an epoch of {kept['steps_per_epoch']} steps, which now has {self._steps}",
                where=str(begun.checkpoint.folder),
                hint="start a new run; only a checkpoint at the end of an epoch can go on with other data",
            )
        if not 0 <= kept["batch"] <= self._steps or not 0 <= kept["best_epoch"] <= len(begun.history):
            raise ValueError(f"it stands at batch {kept['batch']}, with epoch {kept['best_epoch']} the best")
        self._more = begun.checkpoint.step - self._steps * self.position.epoch - self.position.batch
        self.result = Training([dict(record) for record in begun.history], int(kept["best_epoch"]), kept["best_score"])
        if self.result.best_epoch == 0:
            self.result.best_score = float("nan")
        self._best = AS_BEFORE if self.result.best_epoch else None

    def found_best(self, module: nn.Module, *, averaged: bool) -> None:
        """Keep the weights as they are now: they are the best so far.

        A mean of the weights is there for a moment only; other ones stay until the epoch's checkpoint is written.
        """
        self._best = _copied(module.state_dict()) if averaged else MODEL

    def step_taken(self) -> None:
        """Write a checkpoint where one is due, and stop where that is asked for.

        Raises:
            Interrupted: it was asked for, and a checkpoint is there.
        """
        if self.position.batch == self._steps:  # the end of the epoch does that, once it is scored
            return
        due = self._pace.steps is not None and self.position.batch % self._pace.steps == 0
        late = self._pace.minutes is not None and time.monotonic() - self._written >= 60 * self._pace.minutes
        late, stop = self._agree(late, self._stopping())
        if due or late or stop:
            self._save()
        if stop:
            self._stop()

    def epoch_ended(self, *, last: bool) -> None:
        """Begin the next epoch; write a checkpoint where this one was the best, or something was not written for long.

        Where that has just taken long, the best weights wait in memory: what a kill loses is computed again.

        Raises:
            Interrupted: it was asked for, and a checkpoint is there.
        """
        self.position = Position(self.position.epoch + 1)
        elapsed = time.monotonic() - self._written
        rested, late, stop = self._agree(elapsed >= REST * self._took, elapsed >= AT_MOST_EVERY, self._stopping())
        if last or stop or (rested and (late or self._best != AS_BEFORE)):
            self._save()
        elif self._best == MODEL:
            self._best = _copied(self._standing.weights())
        if stop and not last:
            self._stop()

    def _save(self) -> None:
        began = time.monotonic()
        at, result = self.position, self.result
        position = {
            **self._told,
            "step": self._more + at.epoch * self._steps + at.batch,
            "epoch": at.epoch,
            "batch": at.batch,
            "loss": at.loss,
            "steps_per_epoch": self._steps,
            "best_epoch": result.best_epoch,
            "best_score": result.best_score if result.best_epoch else None,
            "scalars": self._standing.scalars(),
        }
        parts: dict[str, Mapping[str, Tensor] | str] = {**self._standing.parts()}
        if self._best is not None:
            parts[BEST] = self._best
        self._checkpoints.save(position, parts)
        self._best = AS_BEFORE if self._best is not None else None
        self._written = time.monotonic()
        self._took = self._written - began

    def _stop(self) -> None:
        raise Interrupted("interrupted", where=f"after epoch {self.position.epoch}, batch {self.position.batch}")


def _copied(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
