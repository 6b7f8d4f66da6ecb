"""Rows and batches of states: one row per example, batches of fixed shapes, ragged rows by the mask convention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from tlcore.contracts import MASK, State

__all__ = ["MASK", "Buckets", "length_of", "ragged_names", "stacked", "unstacked"]

LENGTHS = (8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512)
"""The lengths that rows are padded to: close enough to each other that there is little padding."""
POSITIONS_IN_A_BATCH = 512
"""Enough to keep one CPU busy; with more, too many rows of the last batches would be filled up with zeros."""
ROWS_WITHOUT_LENGTH = 16
ON_GPU = 16
"""A GPU is kept busy by this many times as many rows."""

Tag = TypeVar("Tag")


def ragged_names(state: State) -> list[str]:
    """Return the names whose second dimension is the mask's; the mask itself is not among them."""
    if MASK not in state:
        return []
    length = state[MASK].shape[1]
    return [name for name, tensor in state.items() if name != MASK and tensor.dim() > 1 and tensor.shape[1] == length]


def unstacked(state: State) -> list[State]:
    """Return one state for each row, without the batch dimension and without padding; ``mask`` is implied."""
    rows = len(next(iter(state.values())))
    if MASK not in state:
        return [{name: tensor[n] for name, tensor in state.items()} for n in range(rows)]
    ragged = ragged_names(state)
    marked = state[MASK].bool()
    plain = [name for name in state if name not in ragged and name != MASK]
    return [
        {**{name: state[name][n][marked[n]] for name in ragged}, **{name: state[name][n] for name in plain}}
        for n in range(rows)
    ]


def length_of(row: State, ragged: Sequence[str]) -> int:
    """Return the number of positions of a row, 0 where it is not ragged."""
    return len(row[ragged[0]]) if ragged else 0


def stacked(rows: Sequence[State], ragged: Sequence[str], *, length: int | None = None, count: int = 0) -> State:
    """Return the batch of the rows, padded with zeros to ``length`` positions and filled up to ``count`` rows.

    A row that fills up is zero everywhere; its mask is all ones, since a row without any position has no attention.
    """
    import torch

    count = max(count, len(rows))
    state: State = {}
    lengths = [len(row[ragged[0]]) for row in rows] if ragged else []
    length = length or max(lengths, default=0)
    for name, first in rows[0].items():
        shape = (count, length, *first.shape[1:]) if name in ragged else (count, *first.shape)
        state[name] = torch.zeros(shape, dtype=first.dtype)
        for n, row in enumerate(rows):
            if name in ragged:
                state[name][n, : lengths[n]] = row[name]
            else:
                state[name][n] = row[name]
    if ragged:
        positions = torch.tensor([*lengths, *[length] * (count - len(rows))])
        state[MASK] = (torch.arange(length) < positions[:, None]).long()
    return state


class Buckets(Generic[Tag]):
    """Collects rows into batches whose shape depends on nothing but the row's own length.

    So a row's value does not depend on which other rows were computed with it.
    """

    def __init__(self, ragged: Sequence[str], *, on_gpu: bool = False) -> None:
        self.ragged = list(ragged)
        self._times = ON_GPU if on_gpu else 1
        self._waiting: dict[tuple[object, ...], list[tuple[Tag, State]]] = {}

    def add(self, tag: Tag, row: State) -> Iterator[tuple[list[Tag], State]]:
        """Add a row; yield its batch if that is full now."""
        length = self._length(row)
        key = (length, *((name, tuple(t.shape)) for name, t in sorted(row.items()) if name not in self.ragged))
        members = self._waiting.setdefault(key, [])
        members.append((tag, row))
        if len(members) == self._times * rows_for(length):
            yield self._batch(key)

    def rest(self) -> Iterator[tuple[list[Tag], State]]:
        """Yield the batches that are not full, filled up with rows of zeros."""
        for key in list(self._waiting):
            yield self._batch(key)

    def _batch(self, key: tuple[object, ...]) -> tuple[list[Tag], State]:
        members = self._waiting.pop(key)
        length = key[0] if isinstance(key[0], int) else None
        tags, rows = zip(*members, strict=True)
        return list(tags), stacked(rows, self.ragged, length=length, count=self._times * rows_for(length))

    def _length(self, row: State) -> int | None:
        if not self.ragged:
            return None
        positions = length_of(row, self.ragged)
        return next((length for length in LENGTHS if positions <= length), positions)


def rows_for(length: int | None) -> int:
    """Return how many rows a batch has, from the length of its rows alone."""
    return ROWS_WITHOUT_LENGTH if length is None else 16 if length * 16 <= POSITIONS_IN_A_BATCH else 8
