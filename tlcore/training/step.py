"""One optimizer step: microbatches that fit into memory, accumulated and checked before the weights change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from tlcore.distributed.team import Team
from tlcore.errors import NumericError, PluginError, UsageError
from tlcore.notes import note
from tlcore.recipe import TrainSection
from tlcore.training.data import training_batches
from tlcore.training.model import FeatureScaler
from tlcore.training.nonfinite import NonFinite, nonfinite_weight, trace

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from torch import Tensor, nn

__all__ = ["TrainStep"]

BATCH_OF_ONE = "Expected more than 1 value per channel when training"
"""The message of torch's batch normalization for one example of one pixel."""
CHANGED_IN_PLACE = "modified by an inplace operation"
"""The message of torch for a value that a gradient needs and that was overwritten."""

ComputeLoss = Callable[[Sequence[str]], "Tensor"]
"""Returns the mean loss of the examples with these ids."""
Randomness = Callable[[], contextlib.AbstractContextManager[None]]


class _NonFiniteError(Exception):
    """A loss or a gradient that is not finite, and the examples of its microbatch or step."""

    def __init__(self, what: str, ids: Sequence[str], *, is_gradient: bool) -> None:
        super().__init__(what)
        self.what = what
        self.ids = ids
        self.is_gradient = is_gradient


class TrainStep:
    """Forward, loss, backward, clipping and update for the examples of one step.

    Microbatches are weighted by their size, so 1 x 32, 2 x 16 and 32 x 1 examples give the same gradients.
    ``modules`` are those of the forward pass by name: for messages, and for the buffers that the pass changes.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        optimizer: AcceleratedOptimizer,
        section: TrainSection,
        modules: Mapping[str, nn.Module],
        team: Team,
    ) -> None:
        self.skipped = 0
        """Steps that the fp16 scaler skipped: a gradient overflowed, and the scale is lowered."""
        self._accelerator = accelerator
        self._team = team
        self._modules = modules
        self._microbatch_size = section.batch_size
        self._clip = section.clip
        self._fit_memory = section.fit_memory
        self._buffers = [
            buffer
            for module in modules.values()
            if not isinstance(module, FeatureScaler)
            for buffer in module.buffers()
        ]
        self._without_gradient = {group["part"] for group in optimizer.param_groups}
        self._scaled = optimizer if accelerator.scaler is not None else None
        # Accelerate's wrapper looks for another package's optimizers on the disk in every step, and divides each loss
        # by one. What it adds is the scaler; without one torch itself does the same.
        self._optimizer = self._scaled or optimizer.optimizer
        self._backward: Callable[[Tensor], None] = accelerator.backward if accelerator.scaler else torch.Tensor.backward

    def microbatches(self, ids: Sequence[str]) -> list[Sequence[str]]:
        """Split the examples of a step that are this process's share; of few examples it may have none."""
        share = ids if self._team.size == 1 else self._team.mine(ids)
        if 0 < len(share) <= self._microbatch_size:
            return [share]
        return training_batches(share, self._microbatch_size)

    def step(
        self,
        ids: Sequence[str],
        compute_loss: ComputeLoss,
        number: int,
        randomness: Randomness = contextlib.nullcontext,
    ) -> float:
        """Update the weights once by the gradient of the mean loss over these examples; return that loss.

        Inside ``randomness`` the network draws the same random numbers whenever the step is repeated.

        Raises:
            NumericError: a loss, a gradient or a learning rate is not finite; weights, buffers and the optimizer's
                state are as they were.
            UsageError: one example by itself where batch statistics are needed.
            PluginError: a value that a gradient needs was overwritten.
        """
        self._require_finite_lr(number)
        buffers = [buffer.clone() for buffer in self._buffers]
        try:
            loss = self._accumulate(ids, compute_loss, randomness, buffers)
            if self._scaled is None:  # the fp16 scaler looks for overflow itself and skips that step
                self._require_finite_gradients(ids)
        except _NonFiniteError as error:
            self._reset(buffers)
            first, examples = self._first_nonfinite(ids, compute_loss, randomness, is_gradient=error.is_gradient)
            self._reset(buffers)
            raise NumericError(
                f"{error.what} is not finite at step {number}; the step was not taken",
                where=f"examples: {', '.join(examples or error.ids)}\nthe first value that is not finite: {first}",
                hint="try a smaller learning rate, `--set train.precision=fp32`, and look at these examples",
            ) from None
        if self._without_gradient:
            self._without_gradient -= {
                group["part"]
                for group in self._optimizer.param_groups
                if any(parameter.grad is not None for parameter in group["params"])
            }
        if self._clip is not None:
            self._accelerator.clip_grad_norm_(self._parameters(), self._clip)
        self._optimizer.step()
        if self._scaled is not None and self._scaled.step_was_skipped:
            self.skipped += 1
        return loss

    def require_gradients(self) -> None:
        """Refuse to train parts that can never learn.

        Raises:
            PluginError: no parameter of a part that is not frozen has had a gradient, in all steps so far.
        """
        trained = {
            group["part"]
            for group in self._optimizer.param_groups
            if any(parameter.requires_grad for parameter in group["params"])
        }
        if never := sorted(self._without_gradient & trained):
            raise PluginError(
                f"no gradient has come back to {', '.join(never)}, which would never learn",
                hint="something after it stops the gradient: a stage or loss that uses detach(), no_grad() or .item()",
            )

    def require_same_weights(self, number: int) -> None:
        """Compare the trained weights of all processes that share the steps, bit for bit.

        Raises:
            NumericError: they are not the same.
        """
        if self._team.size > 1:
            self._team.require_agreement(number, (p for p in self._parameters() if p.requires_grad))

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _require_finite_lr(self, number: int) -> None:
        for group in self._optimizer.param_groups:
            if not math.isfinite(group["lr"]):
                raise NumericError(
                    f"the learning rate of {group['part']} is {group['lr']} at step {number}; the step was not taken",
                    hint="look at `train.lr` and `train.scheduler`",
                )

    def _require_finite_gradients(self, ids: Sequence[str]) -> None:
        gradients = [
            (parameter.grad, group["part"])
            for group in self._optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        # One number for all of them: it is finite only if each is, and one transfer from a GPU is cheap.
        if gradients and math.isfinite(float(torch.stack([gradient.sum() for gradient, _ in gradients]).sum())):
            return
        for gradient, part in gradients:
            if not bool(torch.isfinite(gradient).all()):
                raise _NonFiniteError(f"a gradient in {part}", ids, is_gradient=True)

    def _accumulate(
        self, ids: Sequence[str], compute_loss: ComputeLoss, randomness: Randomness, buffers: Sequence[Tensor]
    ) -> float:
        """Compute the gradients of a step; after an out-of-memory error again, in smaller microbatches."""
        from accelerate.utils.memory import should_reduce_batch_size

        while True:
            self._zero_grad()
            try:
                with randomness():
                    loss = sum(self._backward_share(part, len(ids), compute_loss) for part in self.microbatches(ids))
                return loss if self._team.size == 1 else self._team.add_up_gradients(self._parameters(), loss)
            except ValueError as error:
                if BATCH_OF_ONE not in str(error):
                    raise
                raise UsageError(
                    "batch normalization cannot be trained on one example at a time",
                    where=str(error),
                    hint="use larger batches: `--set train.batch_size=8`; or freeze it: `adapter: feature-extraction`",
                ) from error
            except RuntimeError as error:
                if CHANGED_IN_PLACE in str(error):
                    raise PluginError(
                        "a trained stage, the head or the loss overwrites a value that its gradient needs",
                        where=str(error).splitlines()[0],
                        hint="its author can fix that: x = x * 2 instead of x.mul_(2)",
                    ) from error
                if not self._fit_memory or self._microbatch_size == 1 or not should_reduce_batch_size(error):
                    raise
            self._reset(buffers)
            self._microbatch_size = max(1, min(self._microbatch_size, len(ids)) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            note(f"out of memory: a step of {len(ids)} examples now runs in microbatches of {self._microbatch_size}")

    def _backward_share(self, microbatch: Sequence[str], total: int, compute_loss: ComputeLoss) -> float:
        loss = compute_loss(microbatch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise _NonFiniteError("the loss", microbatch, is_gradient=False)
        share = len(microbatch) / total
        self._backward(loss * share if share < 1 else loss)
        return value * share

    def _reset(self, buffers: Sequence[Tensor]) -> None:
        """Discard the gradients, and set the buffers to their values before the step."""
        self._zero_grad()
        with torch.no_grad():
            for buffer, value in zip(self._buffers, buffers, strict=True):
                buffer.copy_(value)

    def _zero_grad(self) -> None:
        # Optimizer.zero_grad also records an event for torch's profiler, which takes longer than this.
        for parameter in self._parameters():
            parameter.grad = None

    def _first_nonfinite(
        self, ids: Sequence[str], compute_loss: ComputeLoss, randomness: Randomness, *, is_gradient: bool
    ) -> tuple[str, Sequence[str]]:
        """Repeat a step with a tracer; return the first value that is not finite, in words, and its examples."""
        if (weight := nonfinite_weight(self._modules)) is not None:
            return f"{weight}, before the step", ()
        with randomness(), trace(self._modules) as tracer:
            for microbatch in self.microbatches(ids):
                loss = compute_loss(microbatch)
                if not math.isfinite(float(loss.detach())):
                    first = tracer.forward or NonFinite("the loss, although the outputs are finite")
                    return first.what, _examples(first, microbatch)
                tracer.forward = None  # an infinity that ended in a finite loss does no harm
                if is_gradient:
                    self._backward(loss * (len(microbatch) / len(ids)))
                if tracer.backward is not None:
                    return tracer.backward.what, _examples(tracer.backward, microbatch)
        return ("the sum of finite gradients" if self._team.size == 1 else "in the share of another process"), ()


def _examples(first: NonFinite, microbatch: Sequence[str]) -> Sequence[str]:
    """Return the examples whose rows are not finite; the whole microbatch where a value has no row for each."""
    return [microbatch[row] for row in first.rows] if first.count == len(microbatch) else microbatch
