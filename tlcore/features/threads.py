"""How many threads compute the first pass: fewer are often faster, and much so where others use the machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator

__all__ = ["ThreadChoice"]

BATCHES = 2
"""So many batches of a shape that was computed before are timed with each number of threads."""
WORTH = 0.95
"""Fewer threads are taken if they need at most so much of the time."""


class ThreadChoice:
    """Times real batches with the threads there are, then with half as many while that is faster; stays with the best.

    What is computed does not depend on it: each thread computes whole values.
    """

    def __init__(self, available: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.threads = available
        """With how many the next batch is computed."""
        self._best = available
        self._best_time = float("inf")
        self._times: list[float] = []
        self._seen: set[Hashable] = set()
        self._decided = available == 1
        self._clock = clock

    @contextlib.contextmanager
    def batch(self, shape: Hashable, places: int) -> Iterator[None]:
        """Compute a batch of a shape, which has so many places, within this."""
        import torch

        before = torch.get_num_threads()
        if self.threads != before:
            torch.set_num_threads(self.threads)
        began = self._clock()
        try:
            yield
        finally:
            if self.threads != before:
                torch.set_num_threads(before)
        if not self._decided and shape in self._seen:  # the first of a shape also prepares the kernels
            self._note((self._clock() - began) / places)
        self._seen.add(shape)

    def _note(self, each: float) -> None:
        self._times.append(each)
        if len(self._times) < BATCHES:
            return
        found = min(self._times)
        self._times.clear()
        if found <= WORTH * self._best_time:
            self._best, self._best_time = self.threads, found
        else:
            self._decided = True
        if self._best == 1:
            self._decided = True
        self.threads = self._best if self._decided else self.threads // 2
