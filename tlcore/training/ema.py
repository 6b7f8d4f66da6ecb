"""A running mean of the weights: scored and saved in place of the last ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch.optim.swa_utils import AveragedModel

from tlcore.weights.loading import load_exactly

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """The exponential mean of what is trained.

    Early on the decay is lower, (1 + n) / (10 + n) after n steps, so that the start is forgotten in short runs too.
    """

    def __init__(self, parts: Mapping[str, nn.Module], decay: float) -> None:
        def mean(average: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
            n = float(steps)
            return torch.lerp(average, current, 1 - min(decay, (1 + n) / (10 + n)))

        self._trained = torch.nn.ModuleList(parts.values())
        self._average = AveragedModel(self._trained, avg_fn=mean, use_buffers=False)

    def update(self) -> None:
        """Take in the weights after a step."""
        self._average.update_parameters(self._trained)

    def state(self) -> dict[str, Tensor]:
        """Return the mean and how many steps it has seen."""
        return dict(self._average.state_dict())

    def restore(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Take over what ``state`` returned.

        Raises:
            WeightsError: it is not of these parts.
        """
        load_exactly(self._average, tensors, source=source)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the mean in the place of the weights for a while."""
        pairs = list(zip(self._trained.parameters(), self._average.module.parameters(), strict=True))
        with torch.no_grad():
            kept = [own.detach().clone() for own, _ in pairs]
            for own, mean in pairs:
                own.copy_(mean)
        try:
            yield
        finally:
            with torch.no_grad():
                for (own, _), value in zip(pairs, kept, strict=True):
                    own.copy_(value)
