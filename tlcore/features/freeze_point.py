"""The freeze point of the first epochs, while a schedule still freezes stages: it is higher, and moves down once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlcore.contracts import Plan

__all__ = ["EarlyLine", "early_line", "first_trained_at"]


@dataclass(frozen=True)
class EarlyLine:
    """The freeze point of the first epochs: after the stages that the schedule still freezes."""

    line: int
    until: int
    """The first epoch, counted from 0, that reads at the plan's own freeze point."""


def first_trained_at(plan: Plan, epoch: int) -> int:
    """Return the index of the first stage that the schedule trains in an epoch."""
    current = [phase for phase in sorted(plan.schedule, key=lambda phase: phase.epoch) if phase.epoch <= epoch]
    return max(plan.freeze_line, current[-1].first_trained) if current else plan.freeze_line


def early_line(plan: Plan, stages: Sequence[str], *, epochs: int, versions: int = 1) -> EarlyLine | None:
    """Return the freeze point of a schedule's first epochs; None where it is the plan's own, or saves nothing.

    ``versions`` is how many augmented versions of an example are cached: to compute each of them once costs more than
    fewer epochs that pass through the frozen stages. A stage that the adapter changes is never frozen.
    """
    changed = [stages.index(injection.stage) for injection in plan.injections]
    line = min([first_trained_at(plan, 0), *changed])
    if line <= plan.freeze_line:
        return None
    until = next((epoch for epoch in range(epochs) if first_trained_at(plan, epoch) < line), epochs)
    return EarlyLine(line, until) if until >= versions else None
