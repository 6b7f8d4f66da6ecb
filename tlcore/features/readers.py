"""Where training reads states at the line: in the store, or computed or prepared whenever they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from tlcore.contracts import Backbone, Example, State, View
from tlcore.data.compact import Digests
from tlcore.errors import DataError, UnreadableError
from tlcore.features.batching import stacked
from tlcore.features.extractor import FrozenPart, Row, Wanted
from tlcore.features.keys import state_key
from tlcore.features.row_cache import Gathered
from tlcore.features.store import FeatureStore
from tlcore.features.workers import Ahead, Request
from tlcore.plugins.validation import prepared_by
from tlcore.randomness import derived_seed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "STANDARDISED",
    "FreshStates",
    "HeldStates",
    "Identities",
    "Measured",
    "RecomputedStates",
    "StateReader",
    "StoredStates",
    "Views",
    "reading_ahead",
]


STANDARDISED = "standardised"
"""The name of features in a state that a head takes as they are."""


@dataclass(frozen=True)
class Views:
    """Which examples are augmented, and in how many stored versions where something lies below them."""

    seed: int
    count: int
    ids: frozenset[str]

    def number(self, content: str, epoch: int) -> int:
        """Return which stored version an example has in an epoch: one after the other, from a start of its own."""
        return (derived_seed(self.seed, "view", content) + epoch) % self.count


@dataclass(frozen=True)
class Identities:
    """The digest of each example's content by id, which views, and how they are augmented."""

    digests: Mapping[str, str]
    views: Views | None = None
    augment: Any = None

    def wanted(self, example: Example) -> list[Wanted]:
        """Return the states to compute for an example: one, or one for each of its stored versions."""
        if self.views is None or example.id not in self.views.ids:
            return [self._wanted(example, None)]
        return [self._wanted(example, View(self.views.seed, number)) for number in range(self.views.count)]

    def in_epoch(self, example: Example, epoch: int | None) -> Wanted:
        """Return the state that belongs to an epoch; without one, the first."""
        views = self.views
        if views is None or example.id not in views.ids:
            return self._wanted(example, None)
        number = views.number(self.digests[example.id], epoch) if epoch is not None else 0
        return self._wanted(example, View(views.seed, number))

    def key(self, example: Example, epoch: int | None) -> bytes:
        """Return the key of the state that belongs to an epoch; without one, of the first."""
        if self.views is None and isinstance(self.digests, Digests):
            return self.digests.raw(example.id)
        return self.in_epoch(example, epoch).key

    def _wanted(self, example: Example, view: View | None) -> Wanted:
        name = example.id
        if view is None and isinstance(self.digests, Digests):
            return Wanted(self.digests.raw(name), name, example)
        content = self.digests[name]
        if view is not None:
            # What is drawn for a version follows the content, so that an example keeps its versions under any name.
            example = Example(content, example.input, example.label, example.split, example.group, example.columns)
        return Wanted(state_key(content, view, self.augment), name, example, view)


class Measured:
    """How long examples are whose states are not stored, so that training puts them together as it does stored ones."""

    def __init__(self, identities: Identities, store: FeatureStore) -> None:
        self._identities = identities
        self._store = store
        self._lengths: dict[bytes, int] = {}

    def note(self, key: bytes, length: int) -> None:
        """Remember a length; most inputs have none."""
        if length:
            self._lengths[key] = length

    def lengths(self, examples: Sequence[Example]) -> list[int]:
        """Return the places of each example, without chance; nothing where none has any."""
        if not self._lengths:
            return []
        keys = [self._identities.key(example, None) for example in examples]
        return [self._lengths[key] if key in self._lengths else self._store.lengths([key])[0] for key in keys]


class StateReader(Protocol):
    """States at the line, by example id."""

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the states of these examples as one batch; with an epoch, its augmented versions if there are any."""
        ...


@contextlib.contextmanager
def reading_ahead(reader: StateReader, batches: Sequence[Sequence[str]], epoch: int | None = None) -> Iterator[None]:
    """Tell a reader which batches will be read inside, in this order; one that can prepares them ahead."""
    announce = getattr(reader, "announce", None)
    if announce is None:
        yield
        return
    announce(batches, epoch)
    try:
        yield
    finally:
        announce((), epoch)


class FreshStates:
    """States at the bottom line: nothing lies below, so each is prepared anew whenever it is read.

    With ``workers`` so many processes prepare what was announced, ahead of its reading; what is read stays the same.
    """

    def __init__(
        self,
        backbone: Backbone,
        examples: Mapping[str, Example],
        views: Views | None = None,
        workers: int = 0,
        measured: Measured | None = None,
    ) -> None:
        self._measured = measured
        self._backbone = backbone
        self._examples = examples
        self._views = views
        self._workers = workers
        self._ahead: Ahead | None = None

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Prepare these examples as one batch, or take it from the process that did."""
        request = self._request(ids, epoch)
        try:
            found = self._ahead.take(request) if self._ahead is not None else None
            return self._prepared(request) if found is None else found
        except UnreadableError as error:
            raise _unreadable_now(ids, str(error)) from error

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return how many places these examples have; nothing where none has any."""
        return self._measured.lengths([self._examples[id_] for id_ in ids]) if self._measured is not None else []

    def announce(self, batches: Sequence[Sequence[str]], epoch: int | None = None) -> None:
        """Say which batches will be read next, in this order."""
        if not self._workers:
            return
        if not batches:
            if self._ahead is not None:
                self._ahead.drop()
            return
        self._ahead = self._ahead or Ahead(self._prepared, self._workers)
        self._ahead.announce([self._request(ids, epoch) for ids in batches])

    def close(self) -> None:
        """End the processes that prepare."""
        if self._ahead is not None:
            self._ahead.close()
        self._ahead = None

    def _request(self, ids: Sequence[str], epoch: int | None) -> Request:
        view = View(self._views.seed, epoch) if self._views is not None and epoch is not None else None
        return tuple(ids), view

    def _prepared(self, request: Request) -> State:
        ids, view = request
        return prepared_by(self._backbone, [self._examples[id_] for id_ in ids], view)


class StoredStates:
    """States of the store."""

    def __init__(self, store: FeatureStore, examples: Mapping[str, Example], identities: Identities) -> None:
        self._store = store
        self._examples = examples
        self._identities = identities
        self.changing = identities.views is not None

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the stored states of these examples."""
        return self._store.batch([self._identities.key(self._examples[id_], epoch) for id_ in ids])

    def rows(self, wanted: Iterable[Wanted]) -> Iterator[Row]:
        """Yield stored states one by one, as they stand in front of the stages above the line."""
        for one in wanted:
            state, ragged = self._store.row(one.key)
            yield one, state, ragged

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return how many places the states of these examples have, without chance; nothing where none has any."""
        if not self._store.is_ragged:
            return []
        return self._store.lengths([self._identities.key(self._examples[id_], None) for id_ in ids])


class HeldStates:
    """Standardised features in memory, or on the device that trains on them; other examples' states, as stored."""

    def __init__(self, features: Tensor, ids: Sequence[str], otherwise: StateReader) -> None:
        self._features = Gathered(features, {id_: row for row, id_ in enumerate(ids)})
        self._otherwise = otherwise

    def announce(self, batches: Sequence[Sequence[str]], epoch: int | None = None) -> None:
        """Say which batches will be read, in this order."""
        self._features.announce(batches)

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return what the head takes of these examples, or their stored states."""
        if ids[0] not in self._features:
            return self._otherwise.batch(ids, epoch)
        return {STANDARDISED: self._features.of(ids)}


class RecomputedStates:
    """States that are computed whenever they are read, in batches of the shapes of stored ones and to the same bits."""

    def __init__(
        self,
        frozen: FrozenPart,
        examples: Mapping[str, Example],
        identities: Identities,
        measured: Measured | None = None,
    ) -> None:
        self._measured = measured
        self._frozen = frozen
        self._examples = examples
        self._identities = identities
        self.changing = identities.views is not None

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Compute the states of these examples."""
        wanted = [self._identities.in_epoch(self._examples[id_], epoch) for id_ in ids]
        found: dict[bytes, State] = {}
        names: list[str] = []

        def unreadable(member: Wanted, reason: str) -> None:
            raise _unreadable_now(ids, reason)

        for member, row, ragged in self._frozen.states(list({one.key: one for one in wanted}.values()), unreadable):
            found[member.key], names = row, ragged
        return stacked([found[one.key] for one in wanted], names)

    def lengths(self, ids: Sequence[str]) -> list[int]:
        """Return how many places the states of these examples have, without chance; nothing where none has any."""
        return self._measured.lengths([self._examples[id_] for id_ in ids]) if self._measured is not None else []


def _unreadable_now(ids: Sequence[str], reason: str) -> DataError:
    return DataError(
        f"an example that could be read a moment ago cannot be read now: {reason}",
        where=f"one of: {', '.join(ids)}",
        hint="keep the data unchanged while a run reads it",
    )
