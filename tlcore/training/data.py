"""The data of an epoch: which states it reads, and in which batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from tlcore.contracts import Example, Task
from tlcore.features.freeze_point import EarlyLine
from tlcore.features.readers import StateReader
from tlcore.features.row_cache import RowCache
from tlcore.plugins.validation import encoded, sampling_weights_of
from tlcore.randomness import generator
from tlcore.training.model import TrainableModel

__all__ = ["EarlyReader", "EpochReaders", "TrainingData", "by_length", "in_batches", "training_batches"]

Item = TypeVar("Item")

WINDOW = 50
"""Texts are sorted by length within so many batches: there is little padding, and batches stay random."""


@dataclass(frozen=True)
class EarlyReader:
    """The reader of the first epochs of an unfreeze schedule, at a freeze point after stages that are still frozen."""

    at: EarlyLine
    reader: StateReader


class EpochReaders:
    """The reader of the current epoch, and the stage at which its states enter the model."""

    def __init__(self, model: TrainableModel, reader: StateReader, early: EarlyReader | None = None) -> None:
        self.final = reader
        self._model = model
        self._early = early
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Read the states of this epoch from now on."""
        early = self._early if self._early is not None and epoch < self._early.at.until else None
        self.current = self.final if early is None else early.reader
        self._model.set_entry(self._model.freeze_line if early is None else early.at.line)

    def replace_first(self, reader: StateReader) -> None:
        """Replace the reader of the first epoch, which is the current one."""
        self.current = reader
        if self._early is not None:
            self._early = dataclasses.replace(self._early, reader=reader)
        else:
            self.final = reader


class TrainingData:
    """The targets of the training split, and its batches as a function of (seed, epoch)."""

    def __init__(self, examples: Sequence[Example], task: Task, readers: EpochReaders, size: int, seed: int) -> None:
        labels = [example.label for example in examples]
        self._ids = [example.id for example in examples]
        self.targets = RowCache(encoded(task, labels), {id_: row for row, id_ in enumerate(self._ids)})
        self._weights = sampling_weights_of(task, labels)
        self._readers = readers
        self._size = size
        self._seed = seed

    def batches(self, epoch: int, purpose: str = "order", *, weighted: bool = True) -> list[Sequence[str]]:
        """Return the ids of each step's batch: a permutation, or drawn with replacement by the task's weights."""
        drawn = generator(self._seed, purpose, epoch)
        if self._weights is None or not weighted:
            order = torch.randperm(len(self._ids), generator=drawn)
        else:
            order = torch.multinomial(self._weights, len(self._ids), replacement=True, generator=drawn)
        ids = [self._ids[n] for n in order.tolist()]
        windows = in_batches(ids, self._size * WINDOW)
        # Lengths at the plan's own freeze point, so that the order depends on nothing that is cached.
        sorted_ids = [window[n] for window in windows for n in by_length(self._readers.final, window)]
        batches = training_batches(sorted_ids, self._size)
        if sorted_ids == ids:
            return batches
        return [batches[n] for n in torch.randperm(len(batches), generator=drawn).tolist()]


def training_batches(ids: Sequence[str], size: int) -> list[Sequence[str]]:
    """Return the ids in batches of ``size``; a single one left over joins the last batch.

    Batch statistics cannot be computed over one example.
    """
    batches = in_batches(ids, size)
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [[*batches[-2], *batches[-1]]]
    return batches


def in_batches(items: Sequence[Item], size: int = 64) -> list[Sequence[Item]]:
    """Return the items in batches of ``size``; the last one may be smaller."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def by_length(reader: StateReader, ids: Sequence[str]) -> list[int]:
    """Return the indices of the ids, sorted by the length of their states; in their order if states have no length.

    A batch is padded to its longest state.
    """
    if not any(lengths := reader.lengths(ids)):
        return list(range(len(ids)))
    return sorted(range(len(ids)), key=lambda index: lengths[index])
