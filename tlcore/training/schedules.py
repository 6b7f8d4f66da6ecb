"""Learning rate schedules by name: functions of the step, so that little has to be saved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Schedule"]


class Schedule:
    """The factor of every learning rate; only ``plateau`` depends on the validation score too."""

    def __init__(self, name: str, options: Any, *, steps_per_epoch: int, epochs: int) -> None:
        self._name = name
        self._options = options
        self._steps_per_epoch = steps_per_epoch
        self._last = max(1, steps_per_epoch * epochs - 1)
        self._falls = 0
        self._waited = 0

    def factor(self, step: int) -> float:
        """Return the factor at a step, counted from 0 over all epochs."""
        options = self._options
        if self._name == "one-cycle":
            return self._one_cycle(step)
        warmup = min(1.0, (step + 1) / options.warmup_steps) if options.warmup_steps else 1.0
        if self._name == "step":
            return warmup * float(options.gamma) ** (step // self._steps_per_epoch // options.step_size)
        if self._name == "plateau":
            return warmup * max(float(options.floor), float(options.gamma) ** self._falls)
        if self._name in ("cosine", "linear"):
            first = min(options.warmup_steps, self._last)
            passed = max(0.0, step - first) / max(1, self._last - first)
            left = _half_cosine(passed) if self._name == "cosine" else 1 - min(1.0, passed)
            return warmup * (options.floor + (1 - options.floor) * left)
        return warmup

    def on_epoch_end(self, *, improved: bool) -> None:
        """Take note of whether the validation score of the epoch was the best so far."""
        if self._name != "plateau":
            return
        self._waited = 0 if improved else self._waited + 1
        if self._waited >= self._options.patience:
            self._falls, self._waited = self._falls + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Return what depends on the validation scores: JSON-able."""
        return {"falls": self._falls, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Load what ``state_dict`` returned."""
        self._falls, self._waited = int(state["falls"]), int(state["waited"])

    def _one_cycle(self, step: int) -> float:
        options, top = self._options, self._options.rise * self._last
        if step <= top:
            return float(1 + (options.start - 1) * _half_cosine(step / top))
        return float(options.floor + (1 - options.floor) * _half_cosine((step - top) / (self._last - top)))


def _half_cosine(passed: float) -> float:
    """Return 1 at the beginning and 0 at the end, by half a period of a cosine."""
    return (1 + math.cos(math.pi * min(1.0, passed))) / 2
