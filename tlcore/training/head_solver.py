"""A head solved to its optimum: all examples at once, by L-BFGS, with an L2 penalty on the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PENALTIES", "solve_head"]

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""L2 penalties that are tried, the strongest first: each starts from the solution before it."""
ITERATIONS = 60


def solve_head(
    head: nn.Module,
    examples: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    loss: Callable[[Tensor, Tensor], Tensor],
    penalty: float,
    tolerance: float = 1e-9,
) -> float:
    """Minimise the mean loss of a head plus ``penalty / 2`` times the sum of its squared weights; return the minimum.

    ``examples`` yields all of them in parts (features, targets); biases are not penalised. From where the head stands
    L-BFGS (Liu and Nocedal, 1989) takes up to 60 steps with a line search, until one changes the minimum by less than
    ``tolerance``.
    """
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    solver = torch.optim.LBFGS(
        parameters, max_iter=ITERATIONS, tolerance_change=tolerance, line_search_fn="strong_wolfe"
    )
    count = sum(len(targets) for _, targets in examples())
    found = 0.0

    def closure() -> Tensor:
        solver.zero_grad()
        total = torch.zeros((), device=parameters[0].device)
        for features, targets in examples():
            share = loss(head(features), targets) * (len(targets) / count)
            share.backward()
            total += share.detach()
        squares = [parameter.square().sum() for parameter in parameters if parameter.dim() > 1]
        if squares:
            price = penalty / 2 * torch.stack(squares).sum()
            price.backward()
            total += price.detach()
        nonlocal found
        found = float(total)
        return total

    head.eval()
    solver.step(closure)
    return found
