"""The state of a training, to a checkpoint and back from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from tlcore.distributed.team import Team
from tlcore.errors import NumericError, WeightsError
from tlcore.training.checkpoints import Checkpoint
from tlcore.training.ema import ModelEMA
from tlcore.training.nonfinite import has_nan_or_inf
from tlcore.training.schedules import Schedule
from tlcore.weights.loading import load_exactly

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.amp import GradScaler
    from torch.optim import Optimizer

__all__ = ["BEST", "MODEL", "ResumePoint", "TrainerPosition", "TrainerState", "TrainingResult"]

MODEL, BEST, OPTIMIZER, EMA, BUFFERS = "model", "best", "optimizer", "average", "statistics"
"""The parts of a checkpoint, as its files are named."""


@dataclass
class TrainingResult:
    """One record for each epoch, and which epoch was the best (from 1)."""

    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = math.nan


@dataclass
class TrainerPosition:
    """The current epoch, counted from 0, how many of its batches are done, and their loss."""

    epoch: int = 0
    batch: int = 0
    loss: float = 0.0
    """Sum over the examples of these batches."""


@dataclass(frozen=True)
class ResumePoint:
    """What an earlier process left of a training: its newest checkpoint and the records of its finished epochs."""

    checkpoint: Checkpoint
    history: Sequence[Mapping[str, Any]]
    other_data: bool = False
    """Whether its scores are those of other examples than the ones here."""


@dataclass(frozen=True)
class TrainerState:
    """The model, the optimizer, the schedule, the averaged weights and the scaler of a training."""

    model: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    ema: ModelEMA | None
    scaler: GradScaler | None
    team: Team

    def tensors(self) -> dict[str, Mapping[str, Tensor]]:
        """Return the tensors by part.

        Raises:
            NumericError: one is not finite; a step with finite gradients can overflow.
        """
        tensors, _ = _split(self.optimizer)
        parts: dict[str, Mapping[str, Tensor]] = {MODEL: self.model.state_dict(), OPTIMIZER: tensors}
        if self.ema is not None:
            parts[EMA] = self.ema.state_dict()
        if self.team.size > 1:  # each process has seen other examples
            parts[BUFFERS] = {"statistics": self.team.gathered(_float_buffers(self.model))}
        self._require_finite(parts)
        return parts

    def scalars(self) -> dict[str, Any]:
        """Return everything else: JSON-able."""
        _, scalars = _split(self.optimizer)
        scaler = self.scaler.state_dict() if self.scaler is not None else None
        return {"optimizer": scalars, "scaler": scaler, "schedule": self.schedule.state_dict()}

    def load(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint.

        Raises:
            WeightsError: it has less or more than this training.
        """
        source = str(checkpoint.folder)
        load_exactly(self.model, checkpoint.tensors(MODEL), source=source)
        scalars = checkpoint.position["scalars"]
        _load_optimizer(self.optimizer, checkpoint.tensors(OPTIMIZER), scalars["optimizer"], source)
        self.schedule.load_state_dict(scalars["schedule"])
        if self.ema is not None:
            load_exactly(self.ema, checkpoint.tensors(EMA), source=source)
        if self.scaler is not None:
            self.scaler.load_state_dict(scalars["scaler"])
        # With another number of processes each resumes from the buffers of the model.
        if self.team.size == checkpoint.position["processes"] > 1:
            _load_float_buffers(self.model, checkpoint.tensors(BUFFERS)["statistics"][self.team.rank])

    def _require_finite(self, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        parameters = {name for name, _ in self.model.named_parameters()}
        for part, tensors in parts.items():
            for name, tensor in tensors.items():
                may_be_masked = part != OPTIMIZER and not (part == MODEL and name in parameters)
                if has_nan_or_inf(tensor) or not (may_be_masked or bool(torch.isfinite(tensor).all())):
                    raise NumericError(
                        f"{name} of the {part} is not finite; no checkpoint was written of it",
                        hint="try a smaller learning rate, or `--set train.precision=fp32`",
                    )


def _split(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """Return an optimizer's state as tensors, named by parameter and key, and everything else."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for parameter, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{parameter}/{name}"] = value
            else:
                scalars.setdefault(str(parameter), {})[name] = value
    return tensors, scalars


def _load_optimizer(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Mapping[str, Any]], source: str
) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in scalars.items()}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    if not state.keys() <= set(range(len(parameters))):
        raise WeightsError("the checkpoint's optimizer has parameters that are not trained here", where=source)
    for key, value in tensors.items():
        shape = parameters[int(key.partition("/")[0])].shape
        if (value.dim() and value.shape != shape) or not bool(torch.isfinite(value).all()):
            raise WeightsError(f"the checkpoint's optimizer has another shape or is not finite: {key}", where=source)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _float_buffers(model: nn.Module) -> Tensor:
    """Return the float buffers of a model, such as the statistics of normalization, in one vector."""
    buffers = [buffer.reshape(-1).float() for buffer in model.buffers() if buffer.is_floating_point()]
    return torch.cat(buffers) if buffers else torch.zeros(1)


def _load_float_buffers(model: nn.Module, values: Tensor) -> None:
    start = 0
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.copy_(values[start : start + buffer.numel()].view_as(buffer))
            start += buffer.numel()
