"""The linear probe: how far the best linear head on the untrained network's features would have come."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Task
from tlcore.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["linear_probe", "sampled"]

MOST_EXAMPLES = 20_000
FEWEST_EXAMPLES = 2_000
MOST_VALUES = 2**22
"""So many training examples, and numbers in their features, are enough to judge by; more would cost memory."""

TOLERANCE = 1e-6
"""The probe's loss is exact to about that, in a third of the time that the last digits take."""


def sampled(count: int, width: int, seed: int) -> list[int]:
    """Return which of so many training examples with so many features the probe looks at: ascending places.

    Data often stands class by class, so the first ones would not do.
    """
    import torch

    most = max(FEWEST_EXAMPLES, min(MOST_EXAMPLES, MOST_VALUES // width))
    return sorted(torch.randperm(count, generator=generator(seed, "probe"))[:most].tolist())


def linear_probe(
    task: Task, train: Tensor, goal: Tensor, others: Mapping[str, Iterable[Tensor]], targets: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Return the metrics of a linear head solved to its optimum, and its penalty, chosen on the validation split.

    ``train`` are standardised features (N, width) and ``goal`` their targets; ``others`` yields those of the validation
    and test split in parts. The loss is the task's own plus an L2 penalty on the weights.
    """
    import torch
    from torch import nn

    from tlcore.training.head_solver import PENALTIES, solve_head

    head = nn.Linear(train.shape[1], task.outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    heads = []
    for penalty in PENALTIES:
        solve_head(head, lambda: [(train, goal)], task.loss, penalty, TOLERANCE)
        heads.append(copy.deepcopy(head))
    scores: dict[str, list[dict[str, float]]] = {}
    with torch.no_grad():
        for split, parts in others.items():
            outputs = [
                torch.cat(found) for found in zip(*([one(part) for one in heads] for part in parts), strict=True)
            ]
            scores[split] = [_scalars(task.evaluate(values, targets[split]).metrics) for values in outputs]
    best = 0
    for n in range(1, len(heads)):
        if _better(task, scores["validation"][n], scores["validation"][best]):
            best = n
    return {"l2": PENALTIES[best], **{split: found[best] for split, found in scores.items()}}


def _better(task: Task, scores: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    name = task.selection.metric
    if scores.get(name) is None or best.get(name) is None:
        return scores.get(name) is not None
    return bool(scores[name] > best[name] if task.selection.higher_is_better else scores[name] < best[name])


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float)) and math.isfinite(value)}
