"""Rows of a tensor by example id; those of announced batches are gathered many batches at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Gathered"]

TOGETHER = 64
"""So many batches are gathered at once: for small ones, looking rows up takes longer than training on them."""


class Gathered:
    """The row of each example, one batch after the other."""

    def __init__(self, values: Tensor, rows: Mapping[str, int]) -> None:
        self._values = values
        self._rows = rows
        self._announced: Sequence[Sequence[str]] = ()
        self._next = 0
        self._parts: Sequence[Tensor] = ()
        self._first = 0

    def __contains__(self, id_: str) -> bool:
        return id_ in self._rows

    def announce(self, batches: Sequence[Sequence[str]]) -> None:
        """Say which batches will be asked for, in this order."""
        self._announced, self._next, self._parts, self._first = batches, 0, (), 0

    def of(self, ids: Sequence[str]) -> Tensor:
        """Return the rows of these examples (N, …)."""
        if self._next >= len(self._announced) or self._announced[self._next] != ids:
            return self._gathered(ids)
        if self._next - self._first >= len(self._parts):
            self._first = self._next
            batches = self._announced[self._next : self._next + TOGETHER]
            self._parts = self._gathered(list(chain.from_iterable(batches))).split(list(map(len, batches)))
        self._next += 1
        return self._parts[self._next - 1 - self._first]

    def _gathered(self, ids: Sequence[str]) -> Tensor:
        import numpy
        import torch

        # Both are several times as fast as a list of numbers and an index in brackets.
        rows = numpy.fromiter(map(self._rows.__getitem__, ids), numpy.int64, len(ids))
        return self._values.index_select(0, torch.from_numpy(rows).to(self._values.device))
