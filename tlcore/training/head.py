"""What the head is trained on: pooled and standardized features, in memory where the head alone is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from accelerate.utils import send_to_device

from tlcore.contracts import Example
from tlcore.distributed.team import Team
from tlcore.features.readers import STANDARDISED, InMemoryReader
from tlcore.training.data import EpochReaders, in_batches
from tlcore.training.model import TrainableModel

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

__all__ = ["HeadFeatures"]

BATCH_SIZE = 1024
"""Cached features that are read at once where no stage is trained."""


@dataclass(frozen=True)
class HeadFeatures:
    """The features of examples in front of the head, as the model computes them now."""

    model: TrainableModel
    readers: EpochReaders
    accelerator: Accelerator
    team: Team

    def fit_scaler(self, examples: Sequence[Example], keep: Sequence[int] = ()) -> Tensor:
        """Fit the feature scaler to the training split, before anything is trained.

        Return the standardized features of the examples at the indices ``keep``, which ascend, on the CPU.
        """
        kept = torch.empty(len(keep), self.model.backbone.feature_dim)
        indices = torch.tensor(keep, dtype=torch.int64)

        def batches() -> Iterator[Tensor]:
            start = 0
            for batch in self.pooled(examples):
                first, end = torch.searchsorted(indices, torch.tensor([start, start + len(batch)])).tolist()
                kept[first:end] = batch[indices[first:end] - start]
                start += len(batch)
                yield batch

        self.model.standardise.fit(batches())
        for batch in kept.split(BATCH_SIZE):  # in place: another copy would cost memory
            batch.copy_(self._scaled(batch))
        return kept

    def pooled(self, examples: Sequence[Example]) -> Iterator[Tensor]:
        """Yield the pooled features (…, feature_dim) of the examples in their order, fp32 on the CPU."""
        trains_stages = bool(self.model.active_stages)
        batches = in_batches([example.id for example in examples], 64 * self.team.size if trains_stages else BATCH_SIZE)
        read_here = [self.team.own_of_joined(batch) for batch in batches] if trains_stages else batches
        with self.readers.current.prefetch(read_here):
            for batch in batches:
                yield self.team.joined(batch, self._pooled) if trains_stages else self._pooled(batch)

    def standardized(self, examples: Sequence[Example]) -> Iterator[Tensor]:
        """Yield the input of the head for the examples in their order, on the CPU."""
        reader = self.readers.current
        if isinstance(reader, InMemoryReader):
            for batch in in_batches([example.id for example in examples], BATCH_SIZE):
                yield reader.batch(batch)[STANDARDISED].cpu()
        else:
            yield from map(self._scaled, self.pooled(examples))

    def cache(self, examples: Sequence[Example], limit: float) -> None:
        """Keep the input of the head in memory where it takes at most ``limit`` bytes and only the head is trained."""
        shape = len(examples), self.model.backbone.feature_dim
        keep = self.readers.current.keep_in_memory
        if self.model.active_stages or not keep or 4 * shape[0] * shape[1] > limit:
            return
        features = torch.empty(shape)
        start = 0
        for batch in self.standardized(examples):
            features[start : start + len(batch)] = batch
            start += len(batch)
        ids = [example.id for example in examples]
        self.readers.replace_first(InMemoryReader(features.to(self.accelerator.device), ids, self.readers.current))

    @torch.no_grad()
    def _pooled(self, ids: Sequence[str]) -> Tensor:
        self.model.eval()
        with self.accelerator.autocast():
            state = send_to_device(self.readers.current.batch(ids), self.accelerator.device)
            return self.model.features(state).float().cpu()

    def _scaled(self, features: Tensor) -> Tensor:
        scaled: Tensor = self.model.standardise(features.to(self.accelerator.device)).cpu()
        return scaled
