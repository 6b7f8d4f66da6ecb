"""An exponential moving average of the weights, evaluated and saved in place of the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ModelEMA"]


class ModelEMA(AveragedModel):
    """The exponential moving average of a model's parameters.

    After n steps the decay is at most (1 + n) / (10 + n), so that short runs forget their start too.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            n = float(steps)
            return torch.lerp(averaged, current, 1 - min(decay, (1 + n) / (10 + n)))

        super().__init__(model, avg_fn=average, use_buffers=False)

    @contextlib.contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Replace the model's parameters by their averages inside."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    def _swap(self, model: nn.Module) -> None:
        for parameter, average in zip(model.parameters(), self.module.parameters(), strict=True):
            parameter.data, average.data = average.data, parameter.data
