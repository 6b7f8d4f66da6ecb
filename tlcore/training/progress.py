"""How far a training is, which epoch was the best, and when a checkpoint is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tlcore.distributed.team import Team
from tlcore.errors import Interrupted, UsageError
from tlcore.recipe import TrainSection
from tlcore.training.checkpoints import Part, Reference
from tlcore.training.state import ResumePoint, TrainerPosition, TrainingResult

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TrainingProgress"]

MINIMUM_SECONDS = 1.0
"""Between checkpoints at the end of epochs that are not the best: to repeat less takes less time than to write."""
PAUSE = 9
"""The pause after a checkpoint is so many times as long as it took to write: at most a tenth of the time."""


class TrainingProgress:
    """The position of one training, its result so far, and the checkpoints that are due."""

    def __init__(
        self, steps_per_epoch: int, section: TrainSection, team: Team, stop_requested: Callable[[], bool]
    ) -> None:
        self.position = TrainerPosition()
        self.result = TrainingResult()
        self.best: Part | None = None
        """The weights of the best epoch, for the next checkpoint; None before the first epoch's end."""
        self._steps_per_epoch = steps_per_epoch
        self._section = section
        self._team = team
        self._stop_requested = stop_requested
        self._stop = False
        self._offset = 0
        """Steps that a resumed training took in epochs of another length: with other data, or in other batches."""
        self._saved_at = time.monotonic()
        self._save_seconds = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the position and the best epoch: JSON-able."""
        at, result = self.position, self.result
        return {
            "step": self._offset + at.epoch * self._steps_per_epoch + at.batch,
            "epoch": at.epoch,
            "batch": at.batch,
            "loss": at.loss,
            "steps_per_epoch": self._steps_per_epoch,
            "best_epoch": result.best_epoch,
            "best_score": result.best_score if result.best_epoch else None,
        }

    def resume(self, point: ResumePoint) -> None:
        """Continue from a checkpoint.

        Raises:
            UsageError: it is within an epoch that has another number of steps now.
            ValueError: its position is impossible.
        """
        saved = point.checkpoint.position
        position = TrainerPosition(int(saved["epoch"]), int(saved["batch"]), float(saved["loss"]))
        if saved["batch"] and saved["steps_per_epoch"] != self._steps_per_epoch:
            raise UsageError(
                f"the checkpoint is in an epoch of {saved['steps_per_epoch']} steps, which now has "
                f"{self._steps_per_epoch}",
                where=str(point.checkpoint.folder),
                hint="start a new run; only a checkpoint at the end of an epoch can be resumed with other data",
            )
        if not 0 <= saved["batch"] <= self._steps_per_epoch or not 0 <= saved["best_epoch"] <= len(point.history):
            raise ValueError(f"its batch is {saved['batch']}, and its best epoch {saved['best_epoch']}")
        self.position = position
        self._offset = point.checkpoint.step - self._steps_per_epoch * position.epoch - position.batch
        self.result = TrainingResult([dict(record) for record in point.history])
        if saved["best_epoch"]:
            self.result.best_epoch, self.result.best_score = int(saved["best_epoch"]), saved["best_score"]
            self.best = Reference.UNCHANGED

    def mark_best(self, model: nn.Module, *, copy: bool) -> None:
        """Remember the weights as they are now as the best; ``copy`` them if they change before the next checkpoint."""
        self.best = _copied(model.state_dict()) if copy else Reference.MODEL

    def on_step_end(self) -> bool:
        """Return whether a checkpoint is due."""
        if self.position.batch == self._steps_per_epoch:  # the next one is at the end of the epoch, once it has a score
            return False
        minutes, steps = self._section.checkpoint_minutes, self._section.checkpoint_steps
        late = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        late, self._stop = self._any(late, self._stop_requested())
        return late or self._stop or (steps is not None and self.position.batch % steps == 0)

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left, or the score has not improved for too long."""
        patience, result = self._section.early_stopping, self.result
        stagnant = bool(patience and result.history and len(result.history) - result.best_epoch >= patience)
        return stagnant or self.position.epoch >= self._section.epochs

    def on_epoch_end(self, model: nn.Module) -> bool:
        """Begin the next epoch; return whether a checkpoint is due: after the best epoch, or after some seconds.

        Where writing takes long, the best weights stay in memory instead: what a kill loses is computed again.
        """
        self.position = TrainerPosition(self.position.epoch + 1)
        elapsed = time.monotonic() - self._saved_at
        rested, late, stop = self._any(
            elapsed >= PAUSE * self._save_seconds, elapsed >= MINIMUM_SECONDS, self._stop_requested()
        )
        self._stop = stop and not self.is_finished
        if self.is_finished or stop or (rested and (late or self.best is not Reference.UNCHANGED)):
            return True
        if self.best is Reference.MODEL:
            self.best = _copied(model.state_dict())
        return False

    def on_saved(self, started: float) -> None:
        """Take note of a checkpoint whose writing began at this time of the monotonic clock."""
        self.best = Reference.UNCHANGED if self.best is not None else None
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def stop_if_requested(self) -> None:
        """Stop after the last step or epoch.

        Raises:
            Interrupted: that was requested then.
        """
        if self._stop:
            raise Interrupted("interrupted", where=f"after epoch {self.position.epoch}, batch {self.position.batch}")

    def _any(self, *flags: bool) -> list[bool]:
        return list(flags) if self._team.size == 1 else self._team.any(*flags)


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
