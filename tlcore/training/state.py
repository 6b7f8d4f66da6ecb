"""All that changes while training goes on: to a checkpoint, and back from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tlcore.distributed.team import Team
from tlcore.errors import NumericError, WeightsError
from tlcore.training.checkpoints import Checkpoint
from tlcore.training.ema import WeightAverage
from tlcore.training.nonfinite import spoilt
from tlcore.training.schedules import Schedule
from tlcore.weights.loading import load_exactly

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn
    from torch.optim import Optimizer

__all__ = ["Begun", "Position", "Standing", "Training"]

MODEL, BEST, OPTIMIZER, AVERAGE, STATISTICS = "model", "best", "optimizer", "average", "statistics"


@dataclass
class Training:
    """How training went: one record for each epoch, and which was the best (from 1)."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = math.nan


@dataclass
class Position:
    """Where training stands: an epoch, counted from 0, and the batches that it has behind it, with their losses."""

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    """Sum over the examples of these batches."""


@dataclass(frozen=True)
class Begun:
    """What an earlier process left of a training: its newest checkpoint and the records of its finished epochs."""

    checkpoint: Checkpoint
    history: Sequence[Mapping[str, Any]]
    other_data: bool = False
    """Whether it was scored on other examples than those that there are now."""


class Standing:
    """The modules of a training whose state a checkpoint holds."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        average: WeightAverage | None,
        accelerator: Accelerator,
        team: Team | None,
    ) -> None:
        self._module = module
        self._optimizer = optimizer
        self._schedule = schedule
        self._average = average
        self._scaler = accelerator.scaler
        self._device = accelerator.device
        self._team = team

    def parts(self) -> dict[str, Mapping[str, Tensor]]:
        """Return the tensors by part.

        Raises:
            NumericError: one is not finite; a step with finite gradients can overflow.
        """
        tensors, _ = _split(self._optimizer)
        found: dict[str, Mapping[str, Tensor]] = {MODEL: self._module.state_dict(), OPTIMIZER: tensors}
        if self._average is not None:
            found[AVERAGE] = self._average.state()
        if self._team is not None and self._team.size > 1:  # each process has seen other examples
            found[STATISTICS] = {"statistics": self._team.gathered(_statistics(self._module))}
        self._require_finite(found)
        return found

    def _require_finite(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        trained = {name for name, _ in self._module.named_parameters()}
        for part, values in parts.items():
            for name, tensor in values.items():
                strictly = part == OPTIMIZER or (part == MODEL and name in trained)
                if spoilt(tensor) or (strictly and not bool(torch.isfinite(tensor).all())):
                    raise NumericError(
                        f"{name} of the {part} is not finite; no checkpoint was written of it",
                        hint="try a smaller learning rate, or `--set train.precision=fp32`",
                    )

    def weights(self) -> Mapping[str, Tensor]:
        """Return the weights as they are now, not copied."""
        return self._module.state_dict()

    def scalars(self) -> dict[str, Any]:
        """Return what is no tensor: JSON-able."""
        _, scalars = _split(self._optimizer)
        scaler = self._scaler.state_dict() if self._scaler is not None else None
        return {"optimizer": scalars, "scaler": scaler, "schedule": self._schedule.state()}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take over what a checkpoint holds.

        Raises:
            WeightsError: it holds less or more than this training has.
        """
        where = str(checkpoint.folder)
        load_exactly(self._module, checkpoint.tensors(MODEL), source=where)
        scalars = checkpoint.position["scalars"]
        _join(self._optimizer, checkpoint.tensors(OPTIMIZER), scalars["optimizer"], where)
        self._schedule.restore(scalars["schedule"])
        if self._average is not None:
            self._average.restore(checkpoint.tensors(AVERAGE), where)
        if self._scaler is not None:
            self._scaler.load_state_dict(scalars["scaler"])
        # Of another number of processes nobody has this one's share: it goes on with the statistics of the model.
        if self._team is not None and self._team.size == checkpoint.position["processes"] > 1:
            _set_statistics(self._module, checkpoint.tensors(STATISTICS)["statistics"][self._team.rank])


def _split(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Return an optimizer's state as tensors, named by parameter and what they are, and everything else."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for parameter, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{parameter}/{name}"] = value
            else:
                scalars.setdefault(str(parameter), {})[name] = value
    return tensors, scalars


def _join(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Mapping[str, Any]], where: str
) -> None:
    state: dict[int, dict[str, Any]] = {int(parameter): dict(values) for parameter, values in scalars.items()}
    for key, value in tensors.items():
        parameter, _, name = key.partition("/")
        state.setdefault(int(parameter), {})[name] = value
    whole = optimizer.state_dict()
    numbers = [number for group in whole["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shapes = {number: parameter.shape for number, parameter in zip(numbers, parameters, strict=True)}
    if state.keys() - shapes.keys():
        raise WeightsError("the checkpoint's optimizer has parameters that are not trained here", where=where)
    if spoiled := next((key for key, value in tensors.items() if not bool(torch.isfinite(value).all())), None):
        raise WeightsError(f"the checkpoint's optimizer is not finite: {spoiled}", where=where)
    for number, values in state.items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor) and value.dim() and value.shape != shapes[number]:
                raise WeightsError(
                    f"the checkpoint's optimizer has {name} of another shape: {list(value.shape)}", where=where
                )
    optimizer.load_state_dict({**whole, "state": state})


def _statistics(module: nn.Module) -> Tensor:
    buffers = [buffer.reshape(-1).float() for buffer in module.buffers() if buffer.is_floating_point()]
    return torch.cat(buffers) if buffers else torch.zeros(1)


def _set_statistics(module: nn.Module, values: Tensor) -> None:
    start = 0
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(values[start : start + buffer.numel()].view_as(buffer))
            start += buffer.numel()
