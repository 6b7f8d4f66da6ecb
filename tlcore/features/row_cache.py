"""Rows of a tensor by example id; those of announced batches are gathered many batches at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy
import torch
from torch import Tensor

__all__ = ["RowCache"]

BATCHES = 64
"""Batches that are gathered at once: for small ones, looking rows up takes longer than training on them."""


class RowCache:
    """The row of each example, batch by batch."""

    def __init__(self, values: Tensor, rows: Mapping[str, int]) -> None:
        self._values = values
        self._rows = rows
        self.announce(())

    def __contains__(self, id_: str) -> bool:
        return id_ in self._rows

    def announce(self, batches: Sequence[Sequence[str]]) -> None:
        """Announce the next batches, in their order."""
        self._announced = batches
        self._next = self._first = 0
        self._gathered: Sequence[Tensor] = ()

    def of(self, ids: Sequence[str]) -> Tensor:
        """Return the rows of these examples (N, …)."""
        if self._next >= len(self._announced) or self._announced[self._next] != ids:
            return self._gather(ids)
        if self._next - self._first >= len(self._gathered):
            self._first = self._next
            batches = self._announced[self._next : self._next + BATCHES]
            self._gathered = self._gather(list(chain.from_iterable(batches))).split(list(map(len, batches)))
        self._next += 1
        return self._gathered[self._next - 1 - self._first]

    def _gather(self, ids: Sequence[str]) -> Tensor:
        # Both are several times as fast as a list of numbers and an index in brackets.
        rows = numpy.fromiter(map(self._rows.__getitem__, ids), numpy.int64, len(ids))
        return self._values.index_select(0, torch.from_numpy(rows).to(self._values.device))
