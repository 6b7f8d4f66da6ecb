"""The learning-rate range test: a short training in which the rate grows until the loss does.

Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tlcore.contracts import Table
from tlcore.errors import NumericError

__all__ = ["LearningRateRange", "range_test"]

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 100
KEPT = 0.9
"""Share of the running mean of the loss that is kept in a step."""
TOO_HIGH = 2.0
"""The test ends where the loss is so many times its lowest."""
NOTICEABLE = 1e-6
BELOW_LOWEST_LOSS = 10.0
"""The rate with the lowest loss is at the edge already; the one that is taken lies so many times below it."""


@dataclass(frozen=True)
class LearningRateRange:
    """What the test saw: rates and smoothed losses, and the rate to train with."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    chosen: float

    def table(self) -> Table:
        """Return rates and losses as the table ``lr_find``."""
        return Table(("lr", "loss"), tuple(zip(self.rates, self.losses, strict=True)))


def range_test(step: Callable[[float, int], float]) -> LearningRateRange:
    """Call ``step(rate, number)``, which trains one step and returns its loss, at growing rates; choose one.

    Raises:
        NumericError: the loss falls at no rate.
    """
    rates, losses = [], []
    mean, lowest = 0.0, math.inf
    for number in range(STEPS):
        rate = LOWEST * (HIGHEST / LOWEST) ** (number / (STEPS - 1))
        try:
            loss = step(rate, number)
        except NumericError:
            break
        mean = KEPT * mean + (1 - KEPT) * loss
        smoothed = mean / (1 - KEPT ** (number + 1))
        rates.append(rate)
        losses.append(smoothed)
        lowest = min(lowest, smoothed)
        if smoothed > TOO_HIGH * lowest:
            break
    best = min(range(len(losses)), key=losses.__getitem__, default=0)
    if not losses or losses[0] - losses[best] <= NOTICEABLE * abs(losses[0]):
        raise NumericError(
            "the range test found no learning rate at which the loss falls",
            where="train.lr: find",
            hint="give a rate: `--set train.lr=1e-3`",
        )
    return LearningRateRange(tuple(rates), tuple(losses), float(f"{rates[best] / BELOW_LOWEST_LOSS:.2g}"))
