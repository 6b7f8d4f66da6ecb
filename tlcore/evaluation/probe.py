"""The linear probe: how far the best linear head on the untrained network's features would have come."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["linear_probe"]

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""L2 penalties on the weights that are tried, the strongest first: each start is the solution before it."""
ITERATIONS = 60
MOST_EXAMPLES = 20_000
"""So many training examples are enough to judge by; more would cost memory and minutes."""


def linear_probe(task: Task, features: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the metrics of a linear head solved to its optimum, and its penalty, chosen on the validation split.

    ``features`` are standardised, (N, width) by split; ``targets`` are what the task encodes. The loss is the task's
    own plus an L2 penalty on the weights, minimised by L-BFGS (Liu and Nocedal, 1989).
    """
    import torch

    train, goal = features["train"][:MOST_EXAMPLES], targets["train"][:MOST_EXAMPLES]
    weight = torch.zeros(train.shape[1], task.outputs, requires_grad=True)
    bias = torch.zeros(task.outputs, requires_grad=True)
    best: dict[str, Any] = {}
    for penalty in PENALTIES:
        solver = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

        def closure(penalty: float = penalty, solver: torch.optim.Optimizer = solver) -> Tensor:
            solver.zero_grad()
            loss = task.loss(train @ weight + bias, goal) + penalty / 2 * weight.square().sum()
            loss.backward()
            return loss

        solver.step(closure)
        with torch.no_grad():
            scores = {
                split: _scalars(task.evaluate(features[split] @ weight + bias, targets[split]).metrics)
                for split in ("validation", "test")
            }
        if not best or _better(task, scores["validation"], best["validation"]):
            best = {"l2": penalty, **scores}
    return best


def _better(task: Task, scores: Mapping[str, Any], best: Mapping[str, Any]) -> bool:
    name = task.selection.metric
    if scores.get(name) is None or best.get(name) is None:
        return scores.get(name) is not None
    return bool(scores[name] > best[name] if task.selection.higher_is_better else scores[name] < best[name])


def _scalars(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float)) and math.isfinite(value)}
