"""How a run is stopped from outside: between two steps, with a checkpoint, where it trains; at once elsewhere."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

__all__ = ["Stopping"]

SAME = 0.5
"""Seconds within which a second signal is the first one again: a launcher passes on what its terminal sent to all."""


class Stopping:
    """Hears SIGINT and SIGTERM; the first one is gentle while training goes on, the second one never."""

    def __init__(self, tell: Callable[[str], None] = lambda text: None) -> None:
        self.by: signal.Signals | None = None
        """What stopped the run."""
        self._at = 0.0
        self._gentle = False
        self._tell = tell

    def asked(self) -> bool:
        """Say whether somebody wants the run to stop."""
        return self.by is not None

    @property
    def exit_code(self) -> int:
        """128 and the number of the signal, as shells have it."""
        return 128 + (self.by or signal.SIGINT)

    @contextlib.contextmanager
    def gently(self) -> Iterator[None]:
        """Within this the first signal only raises a flag."""
        self._gentle = True
        try:
            yield
        finally:
            self._gentle = False

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Listen; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        first = self.by is None
        if not first and time.monotonic() - self._at < SAME:
            return
        self.by, self._at = signal.Signals(number), time.monotonic()
        if first and self._gentle:
            self._tell("stopping after this step; once more to stop at once")
            return
        raise KeyboardInterrupt
