"""How many examples the device processes per second, and how long it waits for them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Throughput"]

Item = TypeVar("Item")


@dataclass
class Throughput:
    """Examples, wall-clock seconds, and the seconds spent waiting for prepared or cached examples."""

    examples: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count the seconds inside as work."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the seconds inside as waiting."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - began

    def awaited(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and count the seconds until each arrives as waiting."""
        coming = iter(items)
        while True:
            try:
                with self.waiting():
                    item = next(coming)
            except StopIteration:
                return
            yield item

    def facts(self) -> dict[str, float] | None:
        """Return examples per second and the share of waiting, JSON-serializable; None without examples."""
        if not self.examples or not self.seconds:
            return None
        return {
            "examples_per_second": round(self.examples / self.seconds, 2),
            "waiting_share": round(min(1.0, self.waited / self.seconds), 4),
        }
