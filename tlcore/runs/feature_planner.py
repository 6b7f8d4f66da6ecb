"""What a run takes from the feature cache: the precision a sample decides on, and the states that training reads."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Backbone, Example
from tlcore.data.dataset import Dataset
from tlcore.errors import UnreadableError, WeightsError
from tlcore.features.cache import CacheConfig
from tlcore.features.extractor import FEATURES, FeatureExtractor
from tlcore.features.half_precision import CANDIDATES, LEAST_COSINE, SAMPLE, centered_cosine
from tlcore.features.keys import Namespace
from tlcore.features.maintenance import cache_root, cached_keys, entries, evict, limit_bytes
from tlcore.features.precompute import PrecomputedFeatures, PrecomputeJob, Reporter, precompute
from tlcore.features.readers import CachedReader, StateReader
from tlcore.features.workers import worker_count
from tlcore.files.atomic import publish_file
from tlcore.files.disk import same_disk
from tlcore.files.run_folder import is_writable
from tlcore.files.untrusted import read_object
from tlcore.mappings import flatten
from tlcore.notes import note
from tlcore.recipe import Recipe
from tlcore.runs.provenance import feature_keys, state_namespace
from tlcore.training.device import accelerator_for, half_format, precision_of

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["FeaturePlan", "FeaturePlanner"]


@dataclass(frozen=True)
class FeaturePlan:
    """What precomputing would compute and reuse; ``differs`` says how the most similar cached states differ."""

    precision: str
    namespace: Namespace
    missing: int
    reused: int
    differs: Mapping[str, tuple[Any, Any]]


class FeaturePlanner:
    """Decides where and in which precision the states of one run are cached, and precomputes them."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        backbone: Backbone,
        *,
        own_folder: Path | None = None,
        reserved: int = 0,
        reporter: Reporter | None = None,
    ) -> None:
        """``own_folder`` is used where the feature cache is read-only; ``reserved`` bytes are for the run itself."""
        self.stages = list(backbone.stages)
        self.precision_reason = ""
        """The reason for the precision, where the recipe leaves it open."""
        self._recipe = recipe
        self._dataset = dataset
        self._backbone = backbone
        self._root = cache_root()
        self._own_folder = own_folder or self._root
        self._reserved = reserved
        self._reporter = reporter or Reporter()

    def precompute(
        self,
        freeze_at: int,
        accelerator: Accelerator,
        examples: Sequence[Example],
        *,
        epochs: int | None = None,
        start: tuple[int, StateReader] | None = None,
    ) -> PrecomputedFeatures:
        """Return the reader of the states of these examples at a freeze point, after computing what is not cached.

        ``epochs`` is how many will read there, if not all. ``start`` is a lower freeze point and its reader.
        """
        recipe = self._recipe
        cached_start = None
        if start is not None and start[0] and isinstance(start[1], CachedReader):
            cached_start = start[0], start[1]
        config = self._cache_config(
            state_namespace(recipe, self._backbone, freeze_at, precision_of(accelerator)),
            reads=(epochs or recipe.train.epochs) + 1,
        )
        features = precompute(
            PrecomputeJob(
                self._backbone,
                freeze_at,
                examples,
                accelerator,
                config,
                feature_keys(recipe, self._dataset),
                cached_start,
                worker_count(recipe.train.workers, accelerator),
                self._reporter,
            )
        )
        if features.stored_bytes and accelerator.is_main_process and is_writable(self._root):
            evict(self._root, limit_bytes())
        return features

    def plan(self, freeze_at: int, precision: str, examples: Sequence[Example]) -> FeaturePlan:
        """Return what ``precompute`` would compute and reuse, without computing anything."""
        namespace = state_namespace(self._recipe, self._backbone, freeze_at, precision)
        keys = {request.key for request in feature_keys(self._recipe, self._dataset).requests(examples)}
        cached = cached_keys(namespace.folder(self._root))
        differs = _least_difference(namespace.about, [entry.about for entry in entries(self._root)])
        return FeaturePlan(precision, namespace, missing=len(keys - cached), reused=len(keys & cached), differs=differs)

    def choose_precision(self, fp32: Accelerator) -> Accelerator:
        """Return an Accelerator in half precision where the device is fast in it and the features survive it.

        The features of 8 training examples, chosen by their content, must keep a centered cosine of 0.99 to those in
        fp32. The cosine is kept in the feature cache.
        """
        device = self._recipe.train.device
        half = half_format(fp32.device)
        train = self._dataset.split("train")
        if half is None or len(train) < SAMPLE:
            self.precision_reason = (
                "too few training examples to try half precision" if half else "the device has no fast half"
            )
            return fp32
        candidates = sorted(train, key=lambda example: self._dataset.digests[example.id])[:CANDIDATES]
        try:
            cosine = self._half_precision_cosine(fp32, half, candidates)
        except (RuntimeError, NotImplementedError) as error:
            note(f"precision fp32: this network cannot be computed in {half} ({str(error).splitlines()[0]})")
            return accelerator_for(device, "fp32")
        self.precision_reason = (
            f"the features of {SAMPLE} training examples keep a centred cosine of {cosine:.4f} in {half}"
        )
        if cosine >= LEAST_COSINE:
            self._reporter.tell(f"precision {half}: {self.precision_reason}")
            return accelerator_for(device, half)
        note(f"precision fp32: {self.precision_reason}, and less than {LEAST_COSINE} costs accuracy")
        return accelerator_for(device, "fp32")

    def _half_precision_cosine(self, fp32: Accelerator, half: str, candidates: Sequence[Example]) -> float:
        """Return the cosine that is kept for this network and these examples, else compute it."""
        pooled = len(self.stages)
        digests = "".join(self._dataset.digests[example.id] for example in candidates)
        folder = state_namespace(self._recipe, self._backbone, pooled, half).folder(self._root)
        path = folder / f"survival-{hashlib.sha256(digests.encode()).hexdigest()[:32]}.json"
        with contextlib.suppress(WeightsError, ValueError, KeyError, TypeError, OverflowError):
            return float(read_object(path)["centred_cosine"])
        sample = list(islice(self._readable(candidates), SAMPLE))
        cosine = 0.0
        if len(sample) == SAMPLE:
            reference = FeatureExtractor(self._backbone, pooled, fp32).batch(sample)[FEATURES]
            accelerator = accelerator_for(self._recipe.train.device, half)
            features = FeatureExtractor(self._backbone, pooled, accelerator).batch(sample)[FEATURES]
            cosine = centered_cosine(reference, features)
        if self._recipe.features.store != "never":
            with contextlib.suppress(OSError):  # it only saves work
                path.parent.mkdir(parents=True, exist_ok=True)
                publish_file(path, json.dumps({"centred_cosine": cosine, "examples": len(sample)}))
        return cosine

    def _readable(self, candidates: Sequence[Example]) -> Iterator[Example]:
        for example in candidates:
            with contextlib.suppress(UnreadableError):  # feature extraction reports it with the reason
                self._backbone.prepare([example], None)
                yield example

    def _cache_config(self, namespace: Namespace, reads: int) -> CacheConfig:
        """Return where states are cached: for all runs, or for this run alone where that is read-only."""
        root, mode = self._root, self._recipe.features.store
        reserved = self._reserved if same_disk(root.absolute(), self._own_folder.absolute()) else 0
        shared = CacheConfig(root, namespace, mode, reads, reserved=reserved)
        if mode != "auto":
            return shared
        if is_writable(shared.folder):
            with contextlib.suppress(OSError):  # some file systems only report it when they are written to
                root.mkdir(parents=True, exist_ok=True)
                return shared
        note(f"the feature store {root} cannot be written to, so what is computed now serves this run alone")
        return replace(shared, root=self._own_folder, only_read=root, reserved=self._reserved)


def _least_difference(about: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, Any]]:
    """Return how the most similar other states of this backbone differ: by key, theirs and ours."""
    ours = flatten(json.loads(json.dumps(about)))  # as the others were read from files
    differences = []
    for theirs in map(flatten, others):
        if theirs.get("backbone") == ours["backbone"]:
            keys = sorted(theirs.keys() | ours.keys())
            differences.append(
                {key: (theirs.get(key), ours.get(key)) for key in keys if theirs.get(key) != ours.get(key)}
            )
    return min(filter(None, differences), key=len, default={})
