"""How far a figure could have been off: percentile intervals from resampled examples.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Task
from tlcore.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["intervals"]


def intervals(
    task: Task,
    outputs: Tensor,
    targets: Tensor,
    metrics: Mapping[str, Any],
    *,
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, list[float]]:
    """Return for each scalar metric the interval in which ``level`` of its values over resampled examples lie.

    A metric that is undefined in a resample is left out of that one.
    """
    import numpy
    import torch

    names = [
        name for name, value in metrics.items() if isinstance(value, float) and math.isfinite(value) and name != "n"
    ]
    found: dict[str, list[float]] = {name: [] for name in names}
    drawn = generator(seed, "bootstrap")
    for _ in range(resamples):
        rows = torch.randint(len(targets), (len(targets),), generator=drawn)
        scores = task.evaluate(outputs[rows], targets[rows]).metrics
        for name in names:
            value = scores.get(name)
            if isinstance(value, float) and math.isfinite(value):
                found[name].append(value)
    tails = [(1 - level) / 2, (1 + level) / 2]
    return {name: [float(end) for end in numpy.quantile(values, tails)] for name, values in found.items() if values}
