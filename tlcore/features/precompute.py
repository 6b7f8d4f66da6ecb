"""Precompute: each state at the freeze point that is not cached yet is computed once, before training reads it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from tlcore.contracts import Backbone, Example, Problem
from tlcore.distributed.process_group import talking
from tlcore.errors import ResourceError
from tlcore.features.batching import length_of
from tlcore.features.cache import CacheConfig, FeatureCache
from tlcore.features.caching_cost import no_room, too_slow
from tlcore.features.claims import claimed
from tlcore.features.extractor import FeatureExtractor
from tlcore.features.keys import CachedViews, FeatureKeys, FeatureRequest
from tlcore.features.preparation import FeatureRow, prepare_rows
from tlcore.features.readers import CachedReader, InputReader, RecomputingReader, StateReader
from tlcore.features.shards import KEY_BYTES
from tlcore.features.throughput import Throughput
from tlcore.features.workers import preparing_threads
from tlcore.notes import note

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["PrecomputeJob", "PrecomputedFeatures", "Reporter", "precompute"]

WARM_UP, TIMED = 32, 96
"""The time of a state is measured between the first numbers of states."""
SAMPLED_TEXTS = 400
"""Texts whose length tells the size of a cached state."""
MOST_ROUNDS = 5


@dataclass(frozen=True)
class Reporter:
    """Shows the user how far the work is, and messages about it."""

    progress: Callable[[str, int, int], None] = lambda phase, done, total: None
    tell: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class PrecomputeJob:
    """Which states to have: those of the examples in front of the stage ``freeze_at``, or their pooled features."""

    backbone: Backbone
    freeze_at: int
    examples: Sequence[Example]
    accelerator: Accelerator
    cache: CacheConfig
    keys: FeatureKeys
    start: tuple[int, CachedReader] | None = None
    """A lower freeze point with the cached states of the same examples: extraction starts there."""
    workers: int = 0
    """Processes that prepare examples for training where no stage is frozen."""
    reporter: Reporter = field(default_factory=Reporter)

    @cached_property
    def by_id(self) -> dict[str, Example]:
        """The examples by id."""
        return {example.id: example for example in self.examples}

    def requests(self) -> Iterator[FeatureRequest]:
        """Yield every state to have, made anew each time: kept for all examples they would cost memory."""
        return self.keys.requests(self.by_id.values())

    def states_at(self, freeze_at: int) -> str:
        """Name the states at a freeze point, for messages."""
        return f"below {[*self.backbone.stages, 'the head'][freeze_at]}" if freeze_at else "of the input"


@dataclass
class PrecomputedFeatures:
    """The reader of the states at a freeze point, the unreadable examples, and what precomputing took."""

    reader: StateReader
    problems: list[Problem] = field(default_factory=list)
    computed: int = 0
    reused: int = 0
    stored_bytes: int = 0
    throughput: Throughput = field(default_factory=Throughput)


def precompute(job: PrecomputeJob) -> PrecomputedFeatures:
    """Compute the states that are not cached yet; return their reader, and which examples are unreadable.

    Where no stage is frozen, nothing is computed, but every example is prepared once, so that training meets nothing
    unreadable: the cache keeps that it can be read, and the tokens of a text.

    Raises:
        NumericError: a state is not finite.
        ResourceError: the disk is full.
    """
    input_views = None
    if not job.freeze_at:  # augmented inputs are prepared anew in each epoch
        input_views, job = job.keys.views, replace(job, keys=FeatureKeys(job.keys.digests))
    cache = FeatureCache(job.cache, made_on=_processor_name(job.accelerator), tell=job.reporter.tell)
    filler = _CacheFiller(job, cache)
    cached = job.cache.mode != "never" and filler.fill()
    lengths = {} if cached else filler.check()
    return PrecomputedFeatures(
        _reader(job, cache if cached else None, lengths, input_views),
        filler.problems(),
        computed=filler.computed if job.freeze_at else 0,
        reused=filler.reused if job.freeze_at else 0,
        stored_bytes=cache.stored_bytes,
        throughput=filler.throughput,
    )


def _processor_name(accelerator: Accelerator) -> str:
    """Name the processor that computes: the values of another may differ in the last digits."""
    if accelerator.device.type == "cuda":
        return torch.cuda.get_device_name(accelerator.device)
    return f"a processor with {torch.backends.cpu.get_cpu_capability()}"


def _reader(
    job: PrecomputeJob, cache: FeatureCache | None, lengths: Mapping[str, int], input_views: CachedViews | None
) -> StateReader:
    if input_views is not None:  # augmented versions have other lengths
        return InputReader(job.backbone, job.by_id, input_views, job.workers)
    if cache is not None and (job.freeze_at or cache.has_states):
        return CachedReader(cache, job.by_id, job.keys)
    if not job.freeze_at:
        return InputReader(job.backbone, job.by_id, None, job.workers, lengths)
    extractor = FeatureExtractor(job.backbone, job.freeze_at, job.accelerator, verify=True)
    pooled = job.freeze_at == len(job.backbone.stages)
    return RecomputingReader(extractor, job.by_id, job.keys, None if pooled else lengths)


class _CacheFiller:
    """Adds to the cache what it lacks, and keeps what is unreadable."""

    def __init__(self, job: PrecomputeJob, cache: FeatureCache) -> None:
        self.computed = self.reused = 0
        self.throughput = Throughput()
        self._job = job
        self._cache = cache
        self._unreadable: dict[bytes, str] = {}

    def fill(self) -> bool:
        """Cache every state; return whether that pays. Where it does not, a note says why."""
        job, keys = self._job, self._keys()
        missing = self._cache.missing(keys)
        self.reused = len(keys) - len(missing)
        del keys  # of all examples they cost memory
        if missing:
            where = job.states_at(job.freeze_at)
            where += f", from those {job.states_at(job.start[0])}" if job.start is not None else ""
            counts = f"{len(missing)} to compute, {self.reused} are stored already"
            job.reporter.tell(f"feature store: states {where}: {counts}")
        reason = self._fill_in_shares(missing)
        if reason:
            note(reason)
        return not reason

    def check(self) -> dict[str, int]:
        """Prepare every example, to learn which are unreadable; return their lengths by id, none without positions."""
        rows = self._prepared(self._keys())
        lengths = {row.request.key: length_of(row.state, row.ragged) for row in rows if row.ragged}
        examples = self._job.by_id.values() if lengths else ()
        return {example.id: lengths.get(self._job.keys.request(example, None).key, 0) for example in examples}

    def problems(self) -> list[Problem]:
        """Return the unreadable examples, each once whatever the number of its versions."""
        problems: dict[str, Problem] = {}
        for request in self._job.requests() if self._unreadable else ():
            if request.key in self._unreadable:
                problems[request.name] = Problem(request.name, self._unreadable[request.key])
        return list(problems.values())

    def _keys(self) -> set[bytes]:
        return {request.key for request in self._job.requests()}

    def _fill_in_shares(self, missing: set[bytes]) -> str:
        """Cache what is missing, each process a share of it; return why that does not pay, or nothing."""
        processes, rank = self._job.accelerator.num_processes, self._job.accelerator.process_index
        if processes == 1:
            return self._fill(missing)
        from accelerate.utils import gather_object

        with talking(rank, processes):
            self._job.accelerator.wait_for_everyone()  # until each has looked into the cache
            reason = self._fill({key for key in missing if int.from_bytes(key[:4], "big") % processes == rank})
            self._unreadable = dict(gather_object(list(self._unreadable.items())))
            self.computed = sum(gather_object([self.computed]))
            reason = max(gather_object([reason]))
        return reason or self._fill(self._cache.missing(self._keys()) - self._unreadable.keys())

    def _fill(self, missing: AbstractSet[bytes]) -> str:
        """Cache what no other run computes, and wait for the others; return why that does not pay, or nothing."""
        rounds = 0
        while missing and rounds < MOST_ROUNDS:
            with claimed(self._cache.folder / "claims", missing) as (mine, others):
                try:
                    reason = self._compute(self._cache.missing(mine))
                except ResourceError as error:
                    if self._job.freeze_at or self._job.cache.mode == "always":
                        raise
                    reason = f"{error.what}: every run reads every example beforehand"  # which costs little
                if reason:
                    return reason
            for other in others:
                self._job.reporter.tell(
                    f"feature store: waiting for {other.owner}, which computes {len(other.keys)} states"
                )
                other.wait()
            missing = self._cache.missing(missing) - self._unreadable.keys()
            rounds += bool(mine)  # what vanished while this run only waited says nothing against the disk
        if not missing:
            return ""
        raise ResourceError(
            f"{len(missing)} states vanish from the feature store whenever they are written",
            where=str(self._cache.folder),
            hint="name a sound disk by TL_CACHE, or use `--set features.store=never`",
        )

    def _compute(self, keys: set[bytes]) -> str:
        """Compute these states and cache them, unless the first ones show that it does not pay: return why."""
        if not keys:
            return ""
        job, count, started = self._job, len(keys), 0.0
        with self.throughput.working():
            for done, row in enumerate(self._rows(keys), 1):
                if job.freeze_at and done == 1:
                    states = f"the states {job.states_at(job.freeze_at)}"
                    if reason := no_room(job.cache, self._usual_bytes(row) * count, states, job.reporter.tell):
                        return reason
                self._cache.add(row.request.key, row.state, row.ragged)
                self.computed += 1
                if done == WARM_UP:  # the first ones include the wait for the first batch
                    started = time.perf_counter()
                if job.freeze_at and done == TIMED:
                    seconds = (time.perf_counter() - started) / (TIMED - WARM_UP)
                    job.reporter.tell(f"feature store: about {seconds * count:.0f} s to compute")
                    if reason := too_slow(job.cache, _bytes(row), seconds):
                        return reason
            self._cache.flush()
        self.throughput.examples = self.computed
        return ""

    def _rows(self, keys: set[bytes]) -> Iterator[FeatureRow]:
        """Compute the states of these keys, from those of a lower freeze point where they are cached."""
        job, first = self._job, 0
        if job.start is None:
            rows = self._prepared(keys)
        else:
            first, reader = job.start
            rows = reader.rows(self._requests(keys), self._progress(len(keys)))
        rows = self.throughput.awaited(rows)
        if job.freeze_at:
            return FeatureExtractor(job.backbone, job.freeze_at, job.accelerator, first=first, verify=True).states(rows)
        # Of an input only the tokens of a text are cached, otherwise that it can be read.
        return (row if row.ragged else row._replace(state={}) for row in rows)

    def _prepared(self, keys: set[bytes]) -> Iterator[FeatureRow]:
        return prepare_rows(
            self._job.backbone,
            self._requests(keys),
            lambda request, reason: self._unreadable.update({request.key: reason}),
            self._progress(len(keys)),
            threads=preparing_threads(self._job.accelerator),
            verify=True,
        )

    def _progress(self, total: int) -> Callable[[int], None]:
        phase = "computing features below the line" if self._job.freeze_at else "checking every example"
        return lambda done: self._job.reporter.progress(phase, done, total)

    def _requests(self, keys: set[bytes]) -> Iterator[FeatureRequest]:
        """Yield the requests of these keys, each once, and remove them from the set: a copy would cost memory."""
        for request in self._job.requests():
            if request.key in keys:
                keys.discard(request.key)
                yield request

    def _usual_bytes(self, row: FeatureRow) -> float:
        """Return the size of a cached state: of texts one of usual length, by the inputs of a few of them."""
        size = KEY_BYTES + _bytes(row)
        if not row.ragged:
            return size
        examples = self._job.examples
        sample = (row.request.example, *examples[:: len(examples) // SAMPLED_TEXTS + 1])
        requests = [FeatureRequest(b"", example.id, example) for example in sample]
        inputs = prepare_rows(self._job.backbone, requests, lambda request, reason: None)
        own, *others = (length_of(each.state, each.ragged) for each in inputs)
        longer = sum(others) / len(others) / own if others and own else 1.0
        return size + (longer - 1) * sum(row.state[name].nbytes for name in row.ragged)


def _bytes(row: FeatureRow) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in row.state.values())
