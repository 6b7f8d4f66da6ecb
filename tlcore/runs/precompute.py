"""What a run asks of the feature store: a sample that decides the precision, and the pass that training reads."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, Example
from tlcore.data.dataset import Dataset
from tlcore.errors import UnreadableError, WeightsError
from tlcore.features.cache import Entry, entries, evict, limit_bytes, store_root
from tlcore.features.extractor import FEATURES, FrozenPart
from tlcore.features.half_precision import CANDIDATES, LEAST_COSINE, SAMPLE, centred_cosine
from tlcore.features.keys import Namespace
from tlcore.features.precompute import Below, FirstPass, Storing, first_pass
from tlcore.features.readers import StateReader, StoredStates
from tlcore.features.shards import DamagedShard, shard_files, shard_keys
from tlcore.features.store import folder_of
from tlcore.features.workers import worker_count
from tlcore.files.atomic import publish_file
from tlcore.files.disk import same_disk
from tlcore.files.run_folder import is_writable
from tlcore.files.untrusted import read_object
from tlcore.mappings import flatten
from tlcore.notes import note
from tlcore.recipe import Recipe
from tlcore.runs.provenance import frozen_digest, state_identities, state_namespace
from tlcore.training.device import accelerator_for, half_format, precision_of

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["FirstPasses", "Outlook"]


@dataclass(frozen=True)
class Outlook:
    """What a pass would compute and reuse; ``differs`` says in what the nearest other states in the store differ."""

    precision: str
    namespace: Namespace
    missing: int
    reused: int
    differs: Mapping[str, tuple[Any, Any]]


class FirstPasses:
    """The states of one run's examples at any line of its network, out of the store or computed."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        backbone: Backbone,
        *,
        own_folder: Path,
        reserved: int = 0,
        progress: Callable[[str, int, int], None],
        tell: Callable[[str], None],
    ) -> None:
        """``own_folder`` is the run's own, on a disk of which ``reserved`` bytes are for what the run writes."""
        self._reserved = reserved
        self._recipe = recipe
        self._dataset = dataset
        self._backbone = backbone
        self._progress = progress
        self._tell = tell
        self.stages = list(backbone.stages)
        self._root = store_root()
        self._own_folder = own_folder
        self.why = ""
        """Why the precision is what it is, where the recipe leaves it open."""

    def at(
        self,
        line: int,
        accelerator: Accelerator,
        examples: Sequence[Example],
        *,
        epochs: int | None = None,
        below: tuple[int, StateReader] | None = None,
    ) -> FirstPass:
        """Return where to read the states of these examples at a line, computing what the store lacks.

        ``epochs`` is how many will read there, if not all. ``below`` is another line and where its states are read:
        where they are stored, computing begins there.
        """
        recipe = self._recipe
        phase = "computing features below the line" if line else "checking every example"
        ready = None
        if below is not None and below[0] and isinstance(below[1], StoredStates):
            ready = Below(below[0], below[1])
        namespace = state_namespace(
            recipe, self._backbone, line, precision_of(accelerator), frozen_digest(self._backbone, line)
        )
        found = first_pass(
            self._backbone,
            line,
            examples,
            accelerator,
            self._storing(namespace, (epochs or recipe.train.epochs) + 1),
            state_identities(recipe, self._dataset),
            below=ready,
            workers=worker_count(recipe.train.workers, accelerator),
            progress=lambda done, total: self._progress(phase, done, total),
            tell=self._tell,
        )
        if found.stored_bytes and accelerator.is_main_process and is_writable(self._root):
            evict(self._root, limit_bytes())
        return found

    def outlook(self, line: int, precision: str, examples: Sequence[Example]) -> Outlook:
        """Say what a pass would compute and reuse, without computing anything."""
        weights = frozen_digest(self._backbone, line)
        namespace = state_namespace(self._recipe, self._backbone, line, precision, weights)
        identities = state_identities(self._recipe, self._dataset)
        keys = {one.key for example in examples for one in identities.wanted(example)}
        stored: set[bytes] = set()
        for path in shard_files(folder_of(self._root, namespace)):
            with contextlib.suppress(DamagedShard, OSError):
                stored.update(shard_keys(path))
        near = _nearest(namespace, entries(self._root))
        return Outlook(precision, namespace, missing=len(keys - stored), reused=len(keys & stored), differs=near)

    def accelerator(self, fp32: Accelerator) -> Accelerator:
        """Return an Accelerator in half precision where the device is fast in it and the features survive it.

        Asked are 8 training examples, chosen by their content: their features in half precision must keep a centred
        cosine of 0.99 to those in fp32. The answer is kept in the store.
        """
        device = self._recipe.train.device
        half = half_format(fp32.device)
        train = self._dataset.split("train")
        if half is None or len(train) < SAMPLE:
            self.why = "too few training examples to try half precision" if half else "the device has no fast half"
            return fp32
        sample = sorted(train, key=lambda example: self._dataset.digests[example.id])[:CANDIDATES]
        try:
            cosine = self._cosine(fp32, half, sample)
        except (RuntimeError, NotImplementedError) as error:
            note(f"precision fp32: this network cannot be computed in {half} ({str(error).splitlines()[0]})")
            return accelerator_for(device, "fp32")
        self.why = f"the features of {SAMPLE} training examples keep a centred cosine of {cosine:.4f} in {half}"
        if cosine >= LEAST_COSINE:
            self._tell(f"precision {half}: {self.why}")
            return accelerator_for(device, half)
        note(f"precision fp32: {self.why}, and less than {LEAST_COSINE} costs accuracy")
        return accelerator_for(device, "fp32")

    def _cosine(self, fp32: Accelerator, half: str, sample: Sequence[Example]) -> float:
        """Return what is remembered of this network and sample, else compute it."""
        line = len(self._backbone.stages)
        namespace = state_namespace(self._recipe, self._backbone, line, half, frozen_digest(self._backbone, line))
        asked = hashlib.sha256("".join(self._dataset.digests[example.id] for example in sample).encode()).hexdigest()
        path = folder_of(self._root, namespace) / f"survival-{asked[:32]}.json"
        with contextlib.suppress(WeightsError, ValueError, KeyError, TypeError, OverflowError):
            return float(read_object(path)["centred_cosine"])
        readable = self._readable(sample)
        cosine = 0.0
        if len(readable) == SAMPLE:
            reference = FrozenPart(self._backbone, line, fp32).together(readable)[FEATURES]
            accelerator = accelerator_for(self._recipe.train.device, half)
            found = FrozenPart(self._backbone, line, accelerator).together(readable)[FEATURES]
            cosine = centred_cosine(reference, found)
        if self._recipe.features.store != "never":
            with contextlib.suppress(OSError):  # it only saves work
                path.parent.mkdir(parents=True, exist_ok=True)
                publish_file(path, json.dumps({"centred_cosine": cosine, "examples": len(readable)}))
        return cosine

    def _readable(self, sample: Sequence[Example]) -> list[Example]:
        readable: list[Example] = []
        for example in sample:
            if len(readable) == SAMPLE:
                break
            with contextlib.suppress(UnreadableError):  # the first pass lists it with the reason
                self._backbone.prepare([example], None)
                readable.append(example)
        return readable

    def _storing(self, namespace: Namespace, passes: int) -> Storing:
        """Say where states are kept: where all runs do, or if that is only read, by this run alone."""
        root, mode = self._root, self._recipe.features.store
        reserved = self._reserved if same_disk(root.absolute(), self._own_folder.absolute()) else 0
        if mode != "auto":
            return Storing(root, namespace, mode, passes, reserved=reserved)
        if is_writable(folder_of(root, namespace)):
            with contextlib.suppress(OSError):  # some file systems say so only when asked to
                root.mkdir(parents=True, exist_ok=True)
                return Storing(root, namespace, mode, passes, reserved=reserved)
        note(f"the feature store {root} cannot be written to, so what is computed now serves this run alone")
        return Storing(self._own_folder, namespace, mode, passes, only_read=root, reserved=self._reserved)


def _nearest(namespace: Namespace, known: Sequence[Entry]) -> dict[str, tuple[Any, Any]]:
    """Return in what the most similar other states of this backbone differ: by key, theirs and ours."""
    ours = flatten(json.loads(json.dumps(namespace.about)))  # as the others were read from files
    differences = []
    for theirs in (flatten(entry.about) for entry in known):
        if theirs.get("backbone") == ours["backbone"]:
            keys = theirs.keys() | ours.keys()
            found = {key: (theirs.get(key), ours.get(key)) for key in keys if theirs.get(key) != ours.get(key)}
            differences += [found] if found else []
    return dict(sorted(min(differences, key=len, default={}).items()))
