"""The learning rate range test: a short training in which the rate grows until the loss does.

Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlcore.contracts import Example, Table
from tlcore.errors import NumericError

if TYPE_CHECKING:
    from tlcore.training.trainer import Trainer

__all__ = ["LearningRateRange", "find_lr", "range_test"]

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 100
SMOOTHING = 0.9
"""Share of the running mean of the loss that is kept in a step."""
DIVERGED = 2.0
"""The test ends where the loss is so many times its lowest."""
NOTICEABLE = 1e-6
BELOW_LOWEST_LOSS = 10.0
"""The rate with the lowest loss is at the edge already; the chosen one is so many times lower."""


@dataclass(frozen=True)
class LearningRateRange:
    """Rates and smoothed losses of the test, and the rate to train with."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    chosen: float

    def table(self) -> Table:
        """Return rates and losses as the table ``lr_find``."""
        return Table(("lr", "loss"), tuple(zip(self.rates, self.losses, strict=True)))


def find_lr(trainer: Trainer, train: Sequence[Example]) -> LearningRateRange:
    """Find a trainer's learning rate by a range test, and set it; weights and optimizer are left as they were.

    Raises:
        NumericError: the loss falls at no rate.
    """
    weights = copy.deepcopy(trainer.unwrapped.state_dict())
    optimizer_state = copy.deepcopy(trainer.optimizer.state_dict())
    trainer.data = trainer.data_of(train)
    batches: list[Sequence[str]] = []

    def step(lr: float, number: int) -> float:
        if not batches:
            batches.extend(trainer.data.batches(number, "range test", weighted=False))
        trainer.set_lr(lr)
        return trainer.step(batches.pop(), 0, number)

    # With all stages that a schedule unfreezes: they are trained at this rate too.
    last_epoch = trainer.section.epochs - 1
    trainer.readers.set_epoch(last_epoch)
    trainer.unwrapped.begin_epoch(last_epoch)
    result = range_test(step)
    trainer.readers.set_epoch(0)
    trainer.unwrapped.load_state_dict(weights)
    trainer.optimizer.load_state_dict(optimizer_state)
    trainer.lr = result.chosen
    return result


def range_test(step: Callable[[float, int], float]) -> LearningRateRange:
    """Call ``step(rate, number)``, which takes one step and returns its loss, at growing rates; choose one.

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
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed = mean / (1 - SMOOTHING ** (number + 1))
        rates.append(rate)
        losses.append(smoothed)
        lowest = min(lowest, smoothed)
        if smoothed > DIVERGED * lowest:
            break
    best = min(range(len(losses)), key=losses.__getitem__, default=0)
    if not losses or losses[0] - losses[best] <= NOTICEABLE * abs(losses[0]):
        raise NumericError(
            "the range test found no learning rate at which the loss falls",
            where="train.lr: find",
            hint="give a rate: `--set train.lr=1e-3`",
        )
    return LearningRateRange(tuple(rates), tuple(losses), float(f"{rates[best] / BELOW_LOWEST_LOSS:.2g}"))
