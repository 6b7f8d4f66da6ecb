"""A callback of Hugging Face's Trainer that notes what each epoch costs, its evaluation included."""

from __future__ import annotations

import itertools
from typing import Any

from transformers import TrainerCallback

from benchmarks.machine import Cost, spent

__all__ = ["EpochClock"]


class EpochClock(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """From the beginning of an epoch to that of the next one, or to the end of training."""

    def __init__(self) -> None:
        self.marks: list[Cost] = []

    @property
    def epochs(self) -> list[Cost]:
        """The cost of each epoch."""
        return [later - earlier for earlier, later in itertools.pairwise(self.marks)]

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Note the time."""
        self.marks.append(spent())

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Note the time."""
        self.marks.append(spent())
