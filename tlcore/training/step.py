"""One optimizer step: its examples in parts that fit into memory, checked before the weights change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tlcore.distributed.team import Team
from tlcore.errors import NumericError, PluginError, UsageError
from tlcore.training.inference import in_batches
from tlcore.training.model import Standardise
from tlcore.training.nonfinite import Found, watched, weight_not_finite

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from torch import Tensor, nn

__all__ = ["Stepper", "training_batches"]

BATCH_OF_ONE = "Expected more than 1 value per channel when training"
"""How torch's batch normalisation says that it has one example of one pixel."""

CHANGED_IN_PLACE = "modified by an inplace operation"
"""How torch says that a value which a gradient needs is another one now."""

LossOf = Callable[[Sequence[str]], "Tensor"]
Drawing = Callable[[], contextlib.AbstractContextManager[None]]


class _NotFiniteError(Exception):
    """A loss or a gradient that is not finite, and the examples of the part or step that it belongs to."""

    def __init__(self, what: str, ids: Sequence[str], *, backward: bool) -> None:
        super().__init__(what)
        self.what = what
        self.ids = ids
        self.backward = backward


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
        network: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self._accelerator = accelerator
        self._team = team
        self._part = part
        self._clip = clip
        self._fit_memory = fit_memory
        self._note = note
        self._network = network or {}
        """What ``loss_of`` goes through, by name: for messages, and for the statistics that a forward pass changes."""
        self._statistics = [
            buffer
            for module in self._network.values()
            if not isinstance(module, Standardise)
            for buffer in module.buffers()
        ]
        self._unreached = {group["part"] for group in optimizer.param_groups}
        """Parts to which no gradient has come back yet."""
        self.skipped = 0
        """Steps that fp16's scaler left out: a gradient overflowed, and it goes on with smaller ones."""
        self._scaled = optimizer if accelerator.scaler is not None else None
        # Accelerate's wrapper looks for another package's optimizers on the disk in every step, and divides each loss
        # by one. What it adds is the scaler; without one torch itself does the same.
        self._optimizer = self._scaled or optimizer.optimizer
        self._backward: Callable[[Tensor], None] = accelerator.backward if accelerator.scaler else _backward

    def parts(self, ids: Sequence[str]) -> list[Sequence[str]]:
        """Return the parts in which this process goes through a step, as long as memory does not end."""
        return training_batches(ids if self._team is None else self._team.mine(ids), self._part)

    def take(self, ids: Sequence[str], loss_of: LossOf, step: int, drawing: Drawing = contextlib.nullcontext) -> float:
        """Change the weights once by the gradient of the mean loss over these examples; return that loss.

        Within ``drawing`` what the network draws by chance is the same whenever the step is begun anew.

        Raises:
            NumericError: a loss, a gradient or a learning rate that is not finite; weights, statistics and the
                optimizer's state are as they were.
            UsageError: one example by itself where batch statistics are needed.
            PluginError: what a gradient needs was changed in place.
        """
        self._require_finite_rates(step)
        before = [buffer.clone() for buffer in self._statistics]
        try:
            loss = self._gradients(ids, loss_of, drawing, before)
            if self._accelerator.scaler is None:  # fp16's scaler looks for overflow itself and leaves that step out
                self._require_finite_gradients(ids)
        except _NotFiniteError as error:
            self._begin_anew(before)
            refusal = self._refusal(error, ids, loss_of, step, drawing)
            self._begin_anew(before)
            raise refusal from None
        if self._unreached:
            self._unreached -= self._reached_now()
        if self._clip is not None:
            self._accelerator.clip_grad_norm_(self._parameters(), self._clip)
        self._optimizer.step()
        if self._scaled is not None and self._scaled.step_was_skipped:
            self.skipped += 1
        return loss

    def require_reached(self) -> None:
        """Refuse to train parts that never learn.

        Raises:
            PluginError: no gradient has come back to any parameter of a part, in all steps so far.
        """
        held = {group["part"] for group in self._optimizer.param_groups if not _is_trained(group)}
        if never := sorted(self._unreached - held):
            raise PluginError(
                f"no gradient has come back to {', '.join(never)}, which would never learn",
                hint="something above it cuts the way: a stage or loss that uses detach(), no_grad() or .item()",
            )

    def _reached_now(self) -> set[str]:
        groups = self._optimizer.param_groups
        return {group["part"] for group in groups if any(one.grad is not None for one in group["params"])}

    def _parameters(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def _require_finite_rates(self, step: int) -> None:
        for group in self._optimizer.param_groups:
            if not math.isfinite(group["lr"]):
                raise NumericError(
                    f"the learning rate of {group['part']} is {group['lr']} at step {step}; the step was not taken",
                    hint="look at `train.lr` and `train.scheduler`",
                )

    def _require_finite_gradients(self, ids: Sequence[str]) -> None:
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
            if not bool(torch.isfinite(gradient).all()):
                raise _NotFiniteError(f"a gradient in {part}", ids, backward=True)

    def _gradients(self, ids: Sequence[str], loss_of: LossOf, drawing: Drawing, before: Sequence[Tensor]) -> float:
        from accelerate.utils.memory import should_reduce_batch_size

        while True:
            self._forget_gradients()
            try:
                with drawing():
                    loss = sum(self._part_gradients(part, len(ids), loss_of) for part in self.parts(ids))
                return loss if self._team is None else self._team.add_up_gradients(self._parameters(), loss)
            except ValueError as error:
                if BATCH_OF_ONE not in str(error):
                    raise
                raise UsageError(
                    "batch normalisation above the line cannot be trained on one example at a time",
                    where=str(error),
                    hint="take more together: `--set train.batch_size=8`; or freeze it: `adapter: feature-extraction`",
                ) from error
            except RuntimeError as error:
                if CHANGED_IN_PLACE in str(error):
                    raise PluginError(
                        "what a gradient needs was changed in place by a trained stage, the head or the loss",
                        where=str(error).splitlines()[0],
                        hint="that is for who wrote it to mend: x = x * 2 instead of x.mul_(2)",
                    ) from error
                if not self._fit_memory or self._part == 1 or not should_reduce_batch_size(error):
                    raise
            self._begin_anew(before)
            self._part = max(1, min(self._part, len(ids)) // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._note(f"memory ended: a step of {len(ids)} examples is now taken in parts of {self._part}")

    def _begin_anew(self, before: Sequence[Tensor]) -> None:
        """Forget what a step has done so far."""
        self._forget_gradients()
        with torch.no_grad():
            for buffer, value in zip(self._statistics, before, strict=True):
                buffer.copy_(value)

    def _forget_gradients(self) -> None:
        # The optimizer's own way also writes a line for torch's profiler, which takes longer than this.
        for parameter in self._parameters():
            parameter.grad = None

    def _part_gradients(self, part: Sequence[str], total: int, loss_of: LossOf) -> float:
        loss = loss_of(part)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise _NotFiniteError("the loss", part, backward=False)
        share = len(part) / total
        self._backward(loss * share if share < 1 else loss)
        return value * share

    def _refusal(
        self, error: _NotFiniteError, ids: Sequence[str], loss_of: LossOf, step: int, drawing: Drawing
    ) -> NumericError:
        """Return the error to raise: it names the first value that is not finite, and whose it is."""
        first, to_blame = self._first_not_finite(error, ids, loss_of, drawing) if self._network else (None, ())
        lines = [f"examples: {', '.join(to_blame or error.ids)}"]
        lines += [f"the first value that is not finite: {first}"] if first else []
        return NumericError(
            f"{error.what} is not finite at step {step}; the step was not taken",
            where="\n".join(lines),
            hint="try a smaller learning rate, `--set train.precision=fp32`, and look at these examples",
        )

    def _first_not_finite(
        self, error: _NotFiniteError, ids: Sequence[str], loss_of: LossOf, drawing: Drawing
    ) -> tuple[str | None, Sequence[str]]:
        """Repeat a step while every module is watched; return what is not finite first, and the examples it is of."""
        if (weight := weight_not_finite(self._network)) is not None:
            return f"{weight}, before the step", ()
        self._forget_gradients()
        with drawing(), watched(self._network) as watch:
            for part in self.parts(ids):
                loss = loss_of(part)
                if not math.isfinite(float(loss.detach())):
                    found = watch.forward or Found("what the loss makes of finite outputs", (), 0)
                    return found.what, _of(found, part)
                watch.forward = None  # an infinity that ended in a finite loss does no harm
                if not error.backward:
                    continue
                self._backward(loss * (len(part) / len(ids)))
                if watch.backward is not None:
                    return watch.backward.what, _of(watch.backward, part)
        alone = self._team is None or self._team.size == 1
        return ("only a sum over finite gradients" if alone else "in the share of another process"), ()


def _is_trained(group: Mapping[str, Any]) -> bool:
    return any(parameter.requires_grad for parameter in group["params"])


def _backward(loss: Tensor) -> None:
    loss.backward()


def _of(found: Found, part: Sequence[str]) -> Sequence[str]:
    """Return the examples whose rows are not finite; the whole part where a value has no row for each example."""
    return [part[row] for row in found.bad] if found.rows == len(part) else part


def training_batches(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return the ids in batches of ``size``; a single one left over joins the batch before it.

    Batch statistics cannot be taken over one example.
    """
    batches = in_batches(ids, size)
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [[*batches[-2], *batches[-1]]]
    return batches
