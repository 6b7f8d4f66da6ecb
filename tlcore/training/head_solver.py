"""A head solved to its optimum: all examples at once, by L-BFGS, with an L2 penalty on the weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tlcore.contracts import Example
from tlcore.errors import NumericError
from tlcore.plugins.validation import encoded
from tlcore.training.checkpoints import Checkpoints
from tlcore.training.state import BEST, TrainingResult

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tlcore.training.trainer import Trainer

__all__ = ["PENALTIES", "fit_head", "solve_head"]

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""L2 penalties that are tried, the strongest first: each starts from the solution before it."""
ITERATIONS = 60


def fit_head(
    trainer: Trainer,
    train: Sequence[Example],
    validation: Sequence[Example],
    checkpoints: Checkpoints,
    on_epoch_end: Callable[[int, Mapping[str, Any]], None],
) -> TrainingResult:
    """Solve a trainer's head to its optimum instead of taking steps; choose the L2 penalty on the validation split.

    Each penalty counts as an epoch. The stages stay as they are.

    Raises:
        NumericError: the loss is not finite.
    """
    trainer.features.cache([*train, *validation], trainer.config.cache_bytes)
    result = TrainingResult()
    targets = encoded(trainer.task, [example.label for example in train])
    device = trainer.accelerator.device

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        start = 0
        for features in trainer.features.standardized(train):
            yield features.to(device), targets[start : start + len(features)].to(device)
            start += len(features)

    for number, penalty in enumerate(PENALTIES):
        started = time.perf_counter()
        loss = solve_head(trainer.unwrapped.head, batches, trainer.task.loss, penalty)
        if not math.isfinite(loss):
            raise NumericError("the loss of the solved head is not finite", hint="look at the training examples")
        metrics = {"loss": loss, "l2": penalty}
        record = trainer.evaluator.evaluate_epoch(result, validation, metrics, 0.0, started)
        if record["best"]:
            position = {"step": number, "best_epoch": result.best_epoch}
            checkpoints.save(position, {BEST: trainer.unwrapped.state_dict()})
        on_epoch_end(number + 1, record)
    trainer.load_best(checkpoints)
    trainer.evaluator.require_score(validation, result.best_score)
    return result


def solve_head(
    head: nn.Module,
    examples: Callable[[], Iterable[tuple[Tensor, Tensor]]],
    loss: Callable[[Tensor, Tensor], Tensor],
    penalty: float,
    tolerance: float = 1e-9,
) -> float:
    """Minimize the mean loss of a head plus ``penalty / 2`` times the sum of its squared weights; return the minimum.

    ``examples`` yields all of them in batches (features, targets); biases are not penalized. L-BFGS (Liu and Nocedal,
    1989) takes up to 60 steps with a line search, until one changes the minimum by less than ``tolerance``.
    """
    parameters = [parameter for parameter in head.parameters() if parameter.requires_grad]
    solver = torch.optim.LBFGS(
        parameters, max_iter=ITERATIONS, tolerance_change=tolerance, line_search_fn="strong_wolfe"
    )
    count = sum(len(targets) for _, targets in examples())
    minimum = 0.0

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
        nonlocal minimum
        minimum = float(total)
        return total

    head.eval()
    solver.step(closure)
    return minimum
