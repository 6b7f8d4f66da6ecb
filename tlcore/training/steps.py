"""One optimizer step: its examples in parts that fit into memory, checked before the weights change."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from tlcore.errors import NumericError, UsageError
from tlcore.training.inference import in_batches
from tlcore.training.team import Team

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from torch import Tensor

__all__ = ["Stepper", "training_batches"]

BATCH_OF_ONE = "Expected more than 1 value per channel when training"
"""How torch's batch normalisation says that it has one example of one pixel."""


class Stepper:
    """Takes optimizer steps.

    ``loss_of`` returns the mean loss of a part of a step, from the ids of its examples. Parts are weighted by their
    size, so 1 x 32, 2 x 16 and 32 x 1 examples give the same gradients.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        optimizer: AcceleratedOptimizer,
        *,
        part: int,
        clip: float | None,
        fit_memory: bool,
        note: Callable[[str], None],
        team: Team | None = None,
    ) -> None:
        self._accelerator = accelerator
        self._team = team
        self._part = part
        self._clip = clip
        self._fit_memory = fit_memory
        self._note = note
        # Accelerate's wrapper looks for another package's optimizers on the disk in every step. What it adds is the
        # scaler; without one the optimizer itself does the same.
        self._optimizer = optimizer if accelerator.scaler is not None else optimizer.optimizer

    def parts(self, ids: Sequence[str]) -> list[Sequence[str]]:
        """Return the parts in which this process goes through a step, as long as memory does not end."""
        return training_batches(ids if self._team is None else self._team.mine(ids), self._part)

    def take(self, ids: Sequence[str], loss_of: Callable[[Sequence[str]], Tensor], step: int) -> float:
        """Change the weights once by the gradient of the mean loss over these examples; return that loss.

        Raises:
            NumericError: a loss or a gradient that is not finite; the weights are as they were.
            UsageError: one example by itself where batch statistics are needed.
        """
        loss = self._gradients(ids, loss_of, step)
        if self._accelerator.scaler is None:  # fp16's scaler looks for overflow itself and leaves that step out
            self._require_finite_gradients(ids, step)
        if self._clip is not None:
            self._accelerator.clip_grad_norm_(self._parameters(), self._clip)
        self._optimizer.step()
        return loss

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _require_finite_gradients(self, ids: Sequence[str], step: int) -> None:
        gradients = [
            (parameter.grad, group["part"])
            for group in self._optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        # One number for all of them: it is finite only if each is, and asking a GPU once is cheap.
        if gradients and math.isfinite(float(torch.stack([gradient.sum() for gradient, _ in gradients]).sum())):
            return
        for gradient, part in gradients:
            _require_finite(gradient, f"a gradient in {part}", ids, step)

    def _gradients(self, ids: Sequence[str], loss_of: Callable[[Sequence[str]], Tensor], step: int) -> float:
        from accelerate.utils.memory import should_reduce_batch_size

        while True:
            self._optimizer.zero_grad()
            try:
                loss = sum(self._part_gradients(part, len(ids), loss_of, step) for part in self.parts(ids))
                return loss if self._team is None else self._team.add_up_gradients(self._parameters(), loss)
            except ValueError as error:
                if BATCH_OF_ONE not in str(error):
                    raise
                raise UsageError(
                    "batch normalisation above the line cannot be trained on one example at a time",
                    where=f"step {step}: {error}",
                    hint="take more together: `--set train.batch_size=8`; or freeze it: `adapter: feature-extraction`",
                ) from error
            except RuntimeError as error:
                if not self._fit_memory or self._part == 1 or not should_reduce_batch_size(error):
                    raise
            self._optimizer.zero_grad()
            self._part = max(1, min(self._part, len(ids)) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._note(f"memory ended: a step of {len(ids)} examples is now taken in parts of {self._part}")

    def _part_gradients(
        self, part: Sequence[str], total: int, loss_of: Callable[[Sequence[str]], Tensor], step: int
    ) -> float:
        loss = loss_of(part)
        value = float(loss.detach())
        if not math.isfinite(value):
            _require_finite(loss, "the loss", part, step)
        share = len(part) / total
        self._accelerator.backward(loss * share if share < 1 else loss)
        return value * share


def training_batches(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return the ids in batches of ``size``; a single one left over joins the batch before it.

    Batch statistics cannot be taken over one example.
    """
    batches = in_batches(ids, size)
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [[*batches[-2], *batches[-1]]]
    return batches


def _require_finite(value: Tensor, what: str, ids: Sequence[str], step: int) -> None:
    if not bool(torch.isfinite(value).all()):
        raise NumericError(
            f"{what} is not finite at step {step}; the step was not taken",
            where=f"examples: {', '.join(ids)}",
            hint="try a smaller learning rate, `--set train.precision=fp32`, and look at these examples",
        )
