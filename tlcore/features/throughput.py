"""How fast examples go through the device, and how long it waits for them."""

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
    """Examples, seconds by the clock, and how many of them were spent waiting for prepared or stored examples."""

    examples: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Count the seconds inside as those of the work."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the seconds inside as waited."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - began

    def awaited(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the items, and count as waited how long each took to come."""
        coming = iter(items)
        while True:
            try:
                with self.waiting():
                    item = next(coming)
            except StopIteration:
                return
            yield item

    def facts(self) -> dict[str, float] | None:
        """Return examples per second and the share of waiting, JSON-able; None where no example went through."""
        if not self.examples or not self.seconds:
            return None
        return {
            "examples_per_second": round(self.examples / self.seconds, 2),
            "waiting_share": round(min(1.0, self.waited / self.seconds), 4),
        }
