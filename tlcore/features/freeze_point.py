"""Where states are read while a schedule holds stages back: the line begins higher up, and moves down once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tlcore.contracts import Plan

__all__ = ["EarlyLine", "early_line", "first_trained_at"]


@dataclass(frozen=True)
class EarlyLine:
    """The line of the first epochs: above the stages that the schedule holds back."""

    line: int
    until: int
    """The first epoch, counted from 0, that reads at the plan's own line."""


def first_trained_at(plan: Plan, epoch: int) -> int:
    """Return the index of the first stage that the schedule lets train in an epoch."""
    current = [phase for phase in sorted(plan.schedule, key=lambda phase: phase.epoch) if phase.epoch <= epoch]
    return max(plan.freeze_line, current[-1].first_trained) if current else plan.freeze_line


def early_line(plan: Plan, stages: Sequence[str], *, epochs: int, versions: int = 1) -> EarlyLine | None:
    """Return where the first epochs of a schedule read; None where that is the plan's own line, or saves nothing.

    ``versions`` is how many augmented versions of an example are stored: to compute each of them once costs more than
    fewer epochs that pass through the held stages. A stage that the adapter changes is never below a line.
    """
    changed = [stages.index(injection.stage) for injection in plan.injections]
    line = min([first_trained_at(plan, 0), *changed])
    if line <= plan.freeze_line:
        return None
    until = next((epoch for epoch in range(epochs) if first_trained_at(plan, epoch) < line), epochs)
    return EarlyLine(line, until) if until >= versions else None
