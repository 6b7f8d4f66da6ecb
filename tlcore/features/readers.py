"""Readers give training the states at the freeze point: cached ones, or computed or prepared whenever they are read."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tlcore.contracts import Backbone, Example, State, View
from tlcore.errors import DataError, UnreadableError
from tlcore.features.batching import stacked
from tlcore.features.cache import FeatureCache
from tlcore.features.extractor import FeatureExtractor
from tlcore.features.keys import CachedViews, FeatureKeys, FeatureRequest
from tlcore.features.preparation import FeatureRow, prepare_rows
from tlcore.features.row_cache import RowCache
from tlcore.features.workers import BatchRequest, Prefetcher, preparing_threads
from tlcore.plugins.validation import prepared_by

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["STANDARDISED", "CachedReader", "InMemoryReader", "InputReader", "RecomputingReader", "StateReader"]

STANDARDISED = "standardised"
"""The name of features in a state that a head takes as they are."""


class StateReader(abc.ABC):
    """Reads the states at the freeze point by example id."""

    keep_in_memory = False
    """Whether states are the same in every epoch and cost time to read, so that they are kept where memory allows."""

    def __init__(self, lengths: Mapping[str, int] | None = None) -> None:
        """``lengths`` holds the number of positions of every example by id, where states have any."""
        self._lengths = lengths

    @abc.abstractmethod
    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the states of these examples as one batch; with an epoch, the versions that belong to it."""

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return the number of positions of each example's state, not augmented; [] where states have none."""
        return [self._lengths[id_] for id_ in ids] if self._lengths else []

    @contextlib.contextmanager
    def prefetch(self, batches: Sequence[Sequence[str]], epoch: int | None = None) -> Iterator[None]:
        """Inside, read these batches in this order: a reader that can prepares them ahead."""
        yield

    def close(self) -> None:  # noqa: B027 - most readers hold nothing
        """End the worker processes, if there are any."""


class CachedReader(StateReader):
    """Reads states from the feature cache."""

    def __init__(self, cache: FeatureCache, examples: Mapping[str, Example], keys: FeatureKeys) -> None:
        super().__init__()
        self.keep_in_memory = keys.views is None
        self._cache = cache
        self._examples = examples
        self._keys = keys

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the cached states of these examples."""
        return self._cache.batch([self._keys.request(self._examples[id_], epoch).key for id_ in ids])

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return the number of positions of each cached state; [] where states have none."""
        if not self._cache.is_ragged:
            return []
        return self._cache.lengths([self._keys.request(self._examples[id_], None).key for id_ in ids])

    def rows(self, requests: Iterable[FeatureRequest], progress: Callable[[int], None]) -> Iterator[FeatureRow]:
        """Yield cached states one by one."""
        for done, request in enumerate(requests, 1):
            yield FeatureRow(request, *self._cache.row(request.key))
            progress(done)


class RecomputingReader(StateReader):
    """Computes states whenever they are read, in batches of the shapes of cached ones and to the same bits."""

    def __init__(
        self,
        extractor: FeatureExtractor,
        examples: Mapping[str, Example],
        keys: FeatureKeys,
        lengths: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(lengths)
        self.keep_in_memory = keys.views is None
        self._extractor = extractor
        self._examples = examples
        self._keys = keys

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Compute the states of these examples."""
        requests = [self._keys.request(self._examples[id_], epoch) for id_ in ids]

        def unreadable(request: FeatureRequest, reason: str) -> None:
            raise _unreadable_now(ids, reason)

        extractor = self._extractor
        prepared = prepare_rows(
            extractor.backbone,
            {request.key: request for request in requests}.values(),
            unreadable,
            threads=preparing_threads(extractor.accelerator),
            verify=extractor.unverified,
        )
        rows = {row.request.key: row for row in extractor.states(prepared)}
        return stacked([rows[request.key].state for request in requests], rows[requests[0].key].ragged)


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
        lengths: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(lengths)
        self._backbone = backbone
        self._examples = examples
        self._views = views
        self._workers = workers
        self._prefetcher: Prefetcher | None = None

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Prepare these examples as one batch, or take it from a worker process."""
        request = self._request(ids, epoch)
        try:
            batch = self._prefetcher.take(request) if self._prefetcher is not None else None
            return self._prepared(request) if batch is None else batch
        except UnreadableError as error:
            raise _unreadable_now(ids, str(error)) from error

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
        super().__init__()
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
