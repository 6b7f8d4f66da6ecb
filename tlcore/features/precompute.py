"""The first pass: what the store lacks of the states at the line is computed, once for each example."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcore.contracts import Backbone, Example, Problem, State
from tlcore.distributed.process_group import talking
from tlcore.errors import ResourceError
from tlcore.features.batching import length_of
from tlcore.features.claims import claimed
from tlcore.features.extractor import FrozenPart, Row, Wanted, prepared
from tlcore.features.keys import Namespace
from tlcore.features.readers import FreshStates, Identities, Measured, RecomputedStates, StateReader, StoredStates
from tlcore.features.shards import KEY_BYTES
from tlcore.features.store import FeatureStore
from tlcore.features.throughput import Throughput
from tlcore.features.workers import preparing_threads
from tlcore.files.disk import free_bytes, readable_bytes
from tlcore.notes import note

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["Below", "FirstPass", "Storing", "first_pass", "made_on"]

FREE_SHARE = 0.9
"""More than this share of the free disk is never filled."""
WARM, MEASURED = 32, 96
"""Between so many states it is measured what one costs."""
ASKED = 400
"""Of so many texts the length is asked for before they are stored."""
SLOW_DISK = 100e6
"""Bytes per second that any disk reads; only where that is slower than computing is the disk measured."""
PROBE_BYTES = 32 * 2**20
MOST_ROUNDS = 5


@dataclass(frozen=True)
class Storing:
    """Where states are kept, what they are known by there, and whether they are kept at all."""

    root: Path
    namespace: Namespace
    mode: Literal["auto", "always", "never"] = "auto"
    passes: int = 2
    """How often training will read each state."""
    only_read: Path | None = None
    """Another store, in which states may lie too."""
    reserved: int = 0
    """Bytes that must stay free on its disk for something else."""


@dataclass(frozen=True)
class Below:
    """States of the same examples that are stored at a lower line: what lies between is all that must be computed."""

    line: int
    reader: StoredStates


@dataclass
class FirstPass:
    """What the first pass gave: where to read, what was unreadable, and what it cost."""

    reader: StateReader
    problems: list[Problem] = field(default_factory=list)
    computed: int = 0
    reused: int = 0
    stored_bytes: int = 0
    throughput: Throughput = field(default_factory=Throughput)


def first_pass(
    backbone: Backbone,
    line: int,
    examples: Sequence[Example],
    accelerator: Accelerator,
    storing: Storing,
    identities: Identities,
    *,
    below: Below | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    tell: Callable[[str], None] = lambda text: None,
) -> FirstPass:
    """Compute what the store lacks of the states at the line; return where to read them and what was unreadable.

    With the line at the bottom nothing is computed, but every example is prepared once, so that nothing unreadable is
    met in training; that it could be read is remembered, and of a text its tokens. Where states lie ready ``below``,
    computing begins there, and the same bits come out. ``workers`` processes prepare then what training reads.

    Raises:
        NumericError: a state that is not finite.
        ResourceError: the disk is full.
    """
    return _Pass(backbone, line, examples, accelerator, storing, identities, below, workers, progress, tell).run()


class _Pass:
    """The state of one first pass."""

    def __init__(
        self,
        backbone: Backbone,
        line: int,
        examples: Sequence[Example],
        accelerator: Accelerator,
        storing: Storing,
        identities: Identities,
        below: Below | None,
        workers: int,
        progress: Callable[[int, int], None],
        tell: Callable[[str], None],
    ) -> None:
        self._backbone = backbone
        self._line = line
        self._examples = {example.id: example for example in examples}
        self._accelerator = accelerator
        self._storing = storing
        self._identities = identities if line else Identities(identities.digests)
        self._views_at_bottom = None if line else identities.views
        self._below = below
        self._workers = workers
        self._throughput = Throughput()
        self._progress = progress
        self._tell = tell
        self._unreadable: dict[bytes, str] = {}
        self._computed = 0
        self._store = FeatureStore(
            storing.root, storing.namespace, made_on=made_on(accelerator), tell=tell, only_read=storing.only_read
        )
        self._measured = Measured(self._identities, self._store)

    def run(self) -> FirstPass:
        keys = self._keys()
        if self._storing.mode == "never":
            self._check(keys)
            return self._result(RecomputedStates, reused=0)
        missing = self._store.look(keys)
        reused = len(keys) - len(missing)
        del keys  # made anew where they are needed again: held for all examples they would cost memory
        if missing:
            where = f"below {self._line_name(self._line)}" if self._line else "of the input"
            if self._below is not None:
                where += f", from those below {self._line_name(self._below.line)}"
            self._tell(f"feature store: states {where}: {len(missing)} to compute, {reused} are stored already")
        if reason := self._fill_together(missing):
            note(reason)
            self._check(self._store.look(self._keys()))
            return self._result(RecomputedStates, reused=reused)
        return self._result(StoredStates, reused=reused)

    def _keys(self) -> set[bytes]:
        return {one.key for one in self._all()}

    def _all(self) -> Iterator[Wanted]:
        """Yield every state to have, anew whenever it is asked for: held for all examples they would cost memory."""
        views = self._identities.views
        for number in range(views.count if views is not None else 1):  # what is prepared together is of one view
            for example in self._examples.values():
                yield from self._identities.wanted(example)[number : number + 1]

    def _those(self, left: set[bytes]) -> Iterator[Wanted]:
        """Yield the states of these keys, each once, and take them out of the set: another would cost memory."""
        for one in self._all():
            if one.key in left:
                left.discard(one.key)
                yield one

    def _fill_together(self, missing: set[bytes]) -> str:
        """Fill the store, each process a share of what is missing; return why nothing is stored, or nothing."""
        world, rank = self._accelerator.num_processes, self._accelerator.process_index
        if world == 1:
            return self._fill(missing)
        from accelerate.utils import gather_object

        with talking(rank, world):
            self._accelerator.wait_for_everyone()  # until each has seen what was there before
            reason = self._fill({key for key in missing if int.from_bytes(key[:4], "big") % world == rank})
            self._unreadable = dict(gather_object(list(self._unreadable.items())))
            self._computed = sum(gather_object([self._computed]))
            reason = max(gather_object([reason]))
        return reason or self._fill(self._store.look(self._keys()) - self._unreadable.keys())

    def _fill(self, missing: set[bytes]) -> str:
        rounds = 0
        while missing and rounds < MOST_ROUNDS:
            with claimed(self._store.folder / "claims", missing) as (mine, others):
                try:
                    self._compute(self._store.look(mine))
                except _DoesNotPayError as reason:
                    return str(reason)
            for other in others:
                self._tell(f"feature store: waiting for {other.owner}, which computes {len(other.keys)} states")
                other.wait()
            missing = self._store.look(missing) - self._unreadable.keys()
            rounds += bool(mine)  # what vanished while this run only waited says nothing against the disk
        if not missing:
            return ""
        raise ResourceError(
            f"{len(missing)} states vanish from the feature store whenever they are written",
            where=str(self._store.folder),
            hint="name a sound disk by TL_CACHE, or use `--set features.store=never`",
        )

    def _compute(self, keys: set[bytes]) -> None:
        if not keys:
            return
        with self._throughput.working():
            self._compute_some(keys)
        self._throughput.examples = self._computed

    def _compute_some(self, keys: set[bytes]) -> None:
        count, wanted = len(keys), self._those(keys)
        if not self._line:
            try:
                for one, row, ragged in self._throughput.awaited(self._prepared(wanted, count)):
                    self._store.add(one.key, row if ragged else {}, ragged)
                    self._computed += 1
                self._store.flush()
            except ResourceError as error:  # with the line at the bottom nothing is lost but the next run's check
                if self._storing.mode == "always":
                    raise
                raise _DoesNotPayError(f"{error.what}: every run reads every example beforehand") from error
            return
        began = 0.0
        for done, (one, row, ragged) in enumerate(self._computed_states(wanted, count), 1):
            if done == 1:
                self._require_room(self._usual_bytes(one, row, ragged), count)
            self._store.add(one.key, row, ragged)
            self._computed += 1
            if done == WARM:  # what comes before is also what the first batch waited for
                began = time.perf_counter()
            if done == MEASURED:
                self._require_worth(row, (time.perf_counter() - began) / (MEASURED - WARM), count)
        self._store.flush()

    def _computed_states(self, wanted: Iterator[Wanted], total: int) -> Iterator[Row]:
        if self._below is None:
            frozen = FrozenPart(self._backbone, self._line, self._accelerator, doubted=True)
            yield from frozen.states(wanted, self._refuse, self._progress, total, self._throughput)
            return
        frozen = FrozenPart(self._backbone, self._line, self._accelerator, first=self._below.line, doubted=True)
        for done, row in enumerate(frozen.following(self._below.reader.rows(wanted)), 1):
            self._progress(done, total)
            yield row

    def _usual_bytes(self, one: Wanted, row: State, ragged: Sequence[str]) -> float:
        """Return what a state takes in the store: of texts one of usual length, by the inputs of a few of them."""
        size = KEY_BYTES + _bytes(row)
        if not ragged:
            return size
        examples = list(self._examples.values())
        some = [Wanted(b"", each.id, each) for each in (one.example, *examples[:: len(examples) // ASKED + 1])]
        inputs = prepared(self._backbone, some, lambda member, reason: None)
        own, *others = (length_of(each, names) for _, each, names in inputs)
        longer = sum(others) / len(others) / own if others and own else 1.0
        return size + (longer - 1) * sum(row[name].nbytes for name in ragged)

    def _require_room(self, each: float, count: int) -> None:
        """Tell what will be stored, and stop storing where the disk is too small.

        Raises:
            ResourceError: it must be stored, and does not fit.
        """
        needed, free = each * count, free_bytes(self._store.folder)
        size, room = readable_bytes(needed), readable_bytes(free)
        self._tell(f"feature store: about {size} to write, {room} are free in {self._storing.root}")
        if needed <= FREE_SHARE * free - self._storing.reserved:
            return
        kept = f", of which the run itself needs {readable_bytes(self._storing.reserved)}"
        what = f"the states below {self._line_name(self._line)} need {size}, and {room} are free"
        what += kept if self._storing.reserved else ""
        if self._storing.mode == "always":
            raise ResourceError(what, where=str(self._storing.root), hint="name a larger disk by TL_CACHE")
        raise _DoesNotPayError(f"{what}: they are computed again in each epoch")

    def _require_worth(self, row: State, each: float, count: int) -> None:
        """Tell how long computing takes (``each`` seconds), and stop storing where the disk is slower than the network.

        Stored, a state is written once and read in each pass; otherwise it is computed in each.
        """
        self._tell(f"feature store: about {each * count:.0f} s to compute")
        size, passes = _bytes(row), self._storing.passes
        if self._storing.mode == "always" or size / SLOW_DISK < each / 2:
            return
        speed = _written_per_second(self._store.folder)
        if size / speed * (passes + 1) > each * passes:
            raise _DoesNotPayError(
                f"states of {readable_bytes(size)} take longer to read at {readable_bytes(speed)}/s than to "
                f"compute ({each * 1000:.1f} ms): they are computed again in each epoch"
            )

    def _check(self, keys: set[bytes]) -> None:
        for one, row, ragged in self._prepared(self._those(keys), len(keys)):
            self._measured.note(one.key, length_of(row, ragged))

    def _prepared(self, wanted: Iterable[Wanted], total: int) -> Iterator[tuple[Wanted, State, list[str]]]:
        threads = preparing_threads(self._accelerator)
        return prepared(self._backbone, wanted, self._refuse, self._progress, total, threads=threads, doubted=True)

    def _refuse(self, one: Wanted, reason: str) -> None:
        self._unreadable[one.key] = reason

    def _result(self, kind: type[StoredStates] | type[RecomputedStates], *, reused: int) -> FirstPass:
        problems: dict[str, Problem] = {}
        for one in self._all() if self._unreadable else ():
            if one.key in self._unreadable:
                problems[one.name] = Problem(one.name, self._unreadable[one.key])
        reader: StateReader
        if not self._line and (self._views_at_bottom or kind is RecomputedStates or not self._store.has_states):
            # Augmented versions have other lengths, stored or not.
            measured = self._measured if self._views_at_bottom is None else None
            reader = FreshStates(self._backbone, self._examples, self._views_at_bottom, self._workers, measured)
        elif kind is StoredStates:
            reader = StoredStates(self._store, self._examples, self._identities)
        else:
            frozen = FrozenPart(self._backbone, self._line, self._accelerator, doubted=True)
            measured = self._measured if self._line < len(self._backbone.stages) else None
            reader = RecomputedStates(frozen, self._examples, self._identities, measured)
        counted = bool(self._line)
        return FirstPass(
            reader,
            list(problems.values()),
            computed=self._computed if counted else 0,
            reused=reused if counted else 0,
            stored_bytes=self._store.stored_bytes,
            throughput=self._throughput,
        )

    def _line_name(self, line: int) -> str:
        names = list(self._backbone.stages)
        return names[line] if line < len(names) else "the head"


def made_on(accelerator: Accelerator) -> str:
    """Name the kind of machine that computes: values of another may differ in the last digits."""
    import torch

    if accelerator.device.type == "cuda":
        return torch.cuda.get_device_name(accelerator.device)
    return f"a processor with {torch.backends.cpu.get_cpu_capability()}"


class _DoesNotPayError(Exception):
    """Storing costs more than computing again; the message says why."""


def _bytes(row: State) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in row.values())


def _written_per_second(folder: Path) -> float:
    """Write and remove 32 MB; return bytes per second."""
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return PROBE_BYTES / (time.perf_counter() - began)
