"""Readers give training the states at the freeze point: cached ones, or computed or prepared whenever they are read."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tlcore.contracts import Backbone, Example, State, View
from tlcore.errors import DataError, UnreadableError
from tlcore.features.batching import stacked
from tlcore.features.cache import FeatureCache
from tlcore.features.extractor import FeatureExtractor
from tlcore.features.keys import CachedViews, FeatureKeys, FeatureRequest
from tlcore.features.preparation import FeatureRow
from tlcore.features.row_cache import RowCache
from tlcore.features.workers import BatchRequest, Prefetcher
from tlcore.plugins.validation import prepared_by

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "STANDARDISED",
    "CachedReader",
    "InMemoryReader",
    "InputReader",
    "LengthIndex",
    "RecomputingReader",
    "StateReader",
]

STANDARDISED = "standardised"
"""The name of features in a state that a head takes as they are."""


class StateReader(abc.ABC):
    """Reads the states at the freeze point by example id."""

    keep_in_memory = False
    """Whether states are the same in every epoch and cost time to read, so that they are kept where memory allows."""

    @abc.abstractmethod
    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the states of these examples as one batch; with an epoch, the versions that belong to it."""

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return the number of positions of each example's state, not augmented; [] where states have none."""
        return []

    @contextlib.contextmanager
    def prefetch(self, batches: Sequence[Sequence[str]], epoch: int | None = None) -> Iterator[None]:
        """Inside, read these batches in this order: a reader that can prepares them ahead."""
        yield

    def close(self) -> None:  # noqa: B027 - most readers hold nothing
        """End the worker processes, if there are any."""


class LengthIndex:
    """Lengths of examples whose states are not cached, so that training batches them as it does cached ones."""

    def __init__(self, keys: FeatureKeys, cache: FeatureCache) -> None:
        self._keys = keys
        self._cache = cache
        self._lengths: dict[bytes, int] = {}

    def add(self, key: bytes, length: int) -> None:
        """Add the length of an example that is not cached; most inputs have none."""
        if length:
            self._lengths[key] = length

    def lengths(self, examples: Sequence[Example]) -> list[int]:
        """Return the number of positions of each example, not augmented; [] where none has any."""
        if not self._lengths:
            return []
        keys = [self._keys.key(example, None) for example in examples]
        return [self._lengths[key] if key in self._lengths else self._cache.lengths([key])[0] for key in keys]


class CachedReader(StateReader):
    """Reads states from the feature cache."""

    def __init__(self, cache: FeatureCache, examples: Mapping[str, Example], keys: FeatureKeys) -> None:
        self.keep_in_memory = keys.views is None
        self._cache = cache
        self._examples = examples
        self._keys = keys

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the cached states of these examples."""
        return self._cache.batch([self._keys.key(self._examples[id_], epoch) for id_ in ids])

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return the number of positions of each cached state; [] where states have none."""
        if not self._cache.is_ragged:
            return []
        return self._cache.lengths([self._keys.key(self._examples[id_], None) for id_ in ids])

    def rows(self, requests: Iterable[FeatureRequest]) -> Iterator[FeatureRow]:
        """Yield cached states one by one."""
        for request in requests:
            yield FeatureRow(request, *self._cache.row(request.key))


class RecomputingReader(StateReader):
    """Computes states whenever they are read, in batches of the shapes of cached ones and to the same bits."""

    def __init__(
        self,
        extractor: FeatureExtractor,
        examples: Mapping[str, Example],
        keys: FeatureKeys,
        lengths: LengthIndex | None = None,
    ) -> None:
        self.keep_in_memory = keys.views is None
        self._extractor = extractor
        self._examples = examples
        self._keys = keys
        self._lengths = lengths

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Compute the states of these examples."""
        requests = [self._keys.request(self._examples[id_], epoch) for id_ in ids]

        def unreadable(request: FeatureRequest, reason: str) -> None:
            raise _unreadable_now(ids, reason)

        different = {request.key: request for request in requests}.values()
        rows = {row.request.key: row for row in self._extractor.states(self._extractor.prepare(different, unreadable))}
        return stacked([rows[request.key].state for request in requests], rows[requests[0].key].ragged)

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return the number of positions that each example had when it was checked; [] where it had none."""
        return self._lengths.lengths([self._examples[id_] for id_ in ids]) if self._lengths is not None else []


class InputReader(StateReader):
    """Prepares examples whenever they are read, where no stage is frozen.

    ``workers`` processes prepare announced batches ahead; what is read stays the same.
    """

    def __init__(
        self,
        backbone: Backbone,
        examples: Mapping[str, Example],
        views: CachedViews | None = None,
        workers: int = 0,
        lengths: LengthIndex | None = None,
    ) -> None:
        self._backbone = backbone
        self._examples = examples
        self._views = views
        self._workers = workers
        self._lengths = lengths
        self._prefetcher: Prefetcher | None = None

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Prepare these examples as one batch, or take it from a worker process."""
        request = self._request(ids, epoch)
        try:
            batch = self._prefetcher.take(request) if self._prefetcher is not None else None
            return self._prepared(request) if batch is None else batch
        except UnreadableError as error:
            raise _unreadable_now(ids, str(error)) from error

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return the number of positions that each example had when it was checked; [] where it had none."""
        return self._lengths.lengths([self._examples[id_] for id_ in ids]) if self._lengths is not None else []

    @contextlib.contextmanager
    def prefetch(self, batches: Sequence[Sequence[str]], epoch: int | None = None) -> Iterator[None]:
        """Inside, read these batches in this order: worker processes prepare them ahead."""
        if not self._workers or not batches:
            yield
            return
        prefetcher = self._prefetcher = self._prefetcher or Prefetcher(self._prepared, self._workers)
        prefetcher.announce([self._request(ids, epoch) for ids in batches])
        try:
            yield
        finally:
            prefetcher.drop()

    def close(self) -> None:
        """End the worker processes."""
        if self._prefetcher is not None:
            self._prefetcher.close()
        self._prefetcher = None

    def _request(self, ids: Sequence[str], epoch: int | None) -> BatchRequest:
        view = View(self._views.seed, epoch) if self._views is not None and epoch is not None else None
        return tuple(ids), view

    def _prepared(self, request: BatchRequest) -> State:
        ids, view = request
        return prepared_by(self._backbone, [self._examples[id_] for id_ in ids], view)


class InMemoryReader(StateReader):
    """Reads standardized features from memory or the training device; states of other examples from another reader."""

    def __init__(self, features: Tensor, ids: Sequence[str], others: StateReader) -> None:
        self._features = RowCache(features, {id_: row for row, id_ in enumerate(ids)})
        self._others = others

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the standardized features of these examples, or their states."""
        if ids[0] not in self._features:
            return self._others.batch(ids, epoch)
        return {STANDARDISED: self._features.of(ids)}

    @contextlib.contextmanager
    def prefetch(self, batches: Sequence[Sequence[str]], epoch: int | None = None) -> Iterator[None]:
        """Inside, read these batches in this order: the rows of many are gathered at once."""
        self._features.announce(batches)
        try:
            yield
        finally:
            self._features.announce(())


def _unreadable_now(ids: Sequence[str], reason: str) -> DataError:
    return DataError(
        f"an example that could be read a moment ago cannot be read now: {reason}",
        where=f"one of: {', '.join(ids)}",
        hint="keep the data unchanged while a run reads it",
    )
