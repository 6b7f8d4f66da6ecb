"""How many threads extract features: fewer are often faster, and much so where other processes use the machine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterator

import torch

__all__ = ["ThreadChoice", "torch_threads"]

BATCHES = 2
"""Batches of a shape computed before that are timed with each number of threads."""
WORTH = 0.95
"""Fewer threads are used if they take at most this share of the time."""


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads inside."""
    before = torch.get_num_threads()
    if count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)


class ThreadChoice:
    """Times real batches with all available threads, then with half as many while that is faster; keeps the best.

    Values agree to rounding: in bf16 the last bits may differ with the number of threads.
    """

    def __init__(self, available: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.threads = available
        """The number of threads for the next batch."""
        self._best = available
        self._best_time = float("inf")
        self._times: list[float] = []
        self._shapes: set[Hashable] = set()
        self._decided = available == 1
        self._clock = clock

    @contextlib.contextmanager
    def batch(self, shape: Hashable, positions: int) -> Iterator[None]:
        """Compute inside a batch of a shape with so many positions."""
        with torch_threads(self.threads):
            started = self._clock()
            yield
            seconds = self._clock() - started
        if not self._decided and shape in self._shapes:  # the first batch of a shape also prepares the kernels
            self._add(seconds / positions)
        self._shapes.add(shape)

    def _add(self, seconds: float) -> None:
        self._times.append(seconds)
        if len(self._times) < BATCHES:
            return
        fastest = min(self._times)
        self._times.clear()
        if fastest <= WORTH * self._best_time:
            self._best, self._best_time = self.threads, fastest
        else:
            self._decided = True
        self._decided = self._decided or self._best == 1
        self.threads = self._best if self._decided else self.threads // 2
