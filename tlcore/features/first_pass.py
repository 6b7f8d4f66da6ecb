"""The first pass: each example once through preparation and the frozen stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tlcore.contracts import Backbone, Example, Problem, State, View
from tlcore.errors import DataError, NumericError, UnreadableError
from tlcore.features.batching import Buckets, ragged_names, unstacked
from tlcore.features.store import FeatureStore
from tlcore.randomness import derived_seed

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

__all__ = [
    "FEATURES",
    "FreshStates",
    "StateReader",
    "StoredViews",
    "Views",
    "first_pass",
    "lower_part",
    "prepared",
]

FEATURES = "features"
"""The one tensor of a state above the last stage: what ``pool`` returned."""
PREPARED_AT_ONCE = 32


@dataclass(frozen=True)
class Views:
    """Which examples are augmented, and in how many stored versions where something lies below them."""

    seed: int
    count: int
    ids: frozenset[str]

    def number(self, id_: str, epoch: int) -> int:
        """Return which stored version an example has in an epoch: one after the other, from a start of its own."""
        return (derived_seed(self.seed, "view", id_) + epoch) % self.count


class StateReader(Protocol):
    """States at the line, by example id."""

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the states of these examples as one batch; with an epoch, its augmented versions if there are any."""
        ...


class FreshStates:
    """States at the bottom line: nothing lies below, so each is prepared anew whenever it is read."""

    def __init__(self, backbone: Backbone, examples: Mapping[str, Example], views: Views | None = None) -> None:
        self._backbone = backbone
        self._examples = examples
        self._views = views

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Prepare these examples as one batch."""
        view = View(self._views.seed, epoch) if self._views is not None and epoch is not None else None
        try:
            return self._backbone.prepare([self._examples[id_] for id_ in ids], view)
        except UnreadableError as error:
            raise DataError(
                f"an example that could be read a moment ago cannot be read now: {error}",
                where=f"one of: {', '.join(ids)}",
                hint="keep the data unchanged while a run reads it",
            ) from error


class StoredViews:
    """Stored states of which the augmented examples have several, read in turn."""

    def __init__(self, store: FeatureStore, views: Views) -> None:
        self._store = store
        self._views = views

    def batch(self, ids: Sequence[str], epoch: int | None = None) -> State:
        """Return the versions that belong to the epoch; without one, the first."""
        return self._store.batch([self._key(id_, epoch) for id_ in ids])

    def _key(self, id_: str, epoch: int | None) -> str:
        if id_ not in self._views.ids:
            return id_
        return _key(id_, self._views.number(id_, epoch) if epoch is not None else 0)


def first_pass(
    backbone: Backbone,
    line: int,
    examples: Sequence[Example],
    accelerator: Accelerator,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    views: Views | None = None,
) -> tuple[StateReader, list[Problem]]:
    """Compute what lies below the line for every example, once; return where to read it and what was unreadable.

    With ``views``, the examples that they name are computed in each augmented version instead of as they are. With the
    line at the bottom every example is prepared all the same, so that nothing unreadable is met in training.

    Raises:
        NumericError: a state that is not finite.
    """
    import torch
    from accelerate.utils import send_to_device

    problems: list[Problem] = []
    if line == 0:
        for _ in prepared(backbone, examples, problems, progress):
            pass
        return FreshStates(backbone, {example.id: example for example in examples}, views), problems
    rows = _rows(backbone, examples, problems, progress, views)
    lower = accelerator.prepare_model(lower_part(backbone, line), evaluation_mode=True).eval()
    store: FeatureStore | None = None
    with torch.inference_mode():
        for ids, state in _batches(rows):
            computed = {name: tensor.cpu() for name, tensor in lower(send_to_device(state, accelerator.device)).items()}
            store = store or FeatureStore(folder, ragged_names(computed))
            for id_, row in zip(ids, unstacked(computed), strict=False):  # rows that fill up have no id
                _require_finite(id_, row)
                store.add(id_, row)
    store = store or FeatureStore(folder, [])
    store.finish()
    return (StoredViews(store, views) if views is not None else store), problems


def _key(id_: str, number: int) -> str:
    return f"{id_}\0{number}"


def _rows(
    backbone: Backbone,
    examples: Sequence[Example],
    problems: list[Problem],
    progress: Callable[[int, int], None],
    views: Views | None,
) -> Iterator[tuple[str, State, list[str]]]:
    """Yield the prepared rows of all examples, those with views under a key for each of their versions."""
    if views is None:
        yield from prepared(backbone, examples, problems, progress)
        return
    viewed = [example for example in examples if example.id in views.ids]
    plain = [example for example in examples if example.id not in views.ids]
    total = len(plain) + views.count * len(viewed)
    yield from prepared(backbone, plain, problems, lambda done, _: progress(done, total))
    for number in range(views.count):
        unreadable = {problem.id for problem in problems}
        readable = [example for example in viewed if example.id not in unreadable]
        passed = len(plain) + number * len(viewed)
        rows = prepared(
            backbone,
            readable,
            problems,
            lambda done, _, passed=passed: progress(passed + done, total),  # type: ignore[misc]
            View(views.seed, number),
        )
        for id_, row, ragged in rows:
            yield _key(id_, number), row, ragged


def lower_part(backbone: Backbone, line: int) -> nn.Module:
    """Return the stages below the line as one module, state to state; above the last stage, pooling belongs to it."""
    from torch import nn

    class Lower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.ModuleList(list(backbone.stages.values())[:line])

        def forward(self, state: State) -> State:
            for stage in self.stages:
                state = stage(state)
            return {FEATURES: backbone.pool(state).float()} if line == len(backbone.stages) else state

    return Lower().requires_grad_(False)


def prepared(
    backbone: Backbone,
    examples: Sequence[Example],
    problems: list[Problem],
    progress: Callable[[int, int], None] = lambda done, total: None,
    view: View | None = None,
) -> Iterator[tuple[str, State, list[str]]]:
    """Yield id, prepared row and ragged names for each readable example; add the others to ``problems``."""
    for start in range(0, len(examples), PREPARED_AT_ONCE):
        chunk = examples[start : start + PREPARED_AT_ONCE]
        for readable, state in _readable(backbone, chunk, problems, view):
            ragged = ragged_names(state)
            for example, row in zip(readable, unstacked(state), strict=True):
                yield example.id, row, ragged
        progress(start + len(chunk), len(examples))


def _readable(
    backbone: Backbone, chunk: Sequence[Example], problems: list[Problem], view: View | None
) -> Iterator[tuple[Sequence[Example], State]]:
    try:
        yield chunk, backbone.prepare(chunk, view)
    except UnreadableError as error:
        if len(chunk) == 1:
            problems.append(Problem(chunk[0].id, str(error)))
            return
        middle = len(chunk) // 2
        yield from _readable(backbone, chunk[:middle], problems, view)
        yield from _readable(backbone, chunk[middle:], problems, view)


def _batches(rows: Iterator[tuple[str, State, list[str]]]) -> Iterator[tuple[list[str], State]]:
    buckets: Buckets[str] | None = None
    for id_, row, ragged in rows:
        buckets = buckets or Buckets(ragged)
        yield from buckets.add(id_, row)
    if buckets is not None:
        yield from buckets.rest()


def _require_finite(id_: str, row: State) -> None:
    import torch

    for name, tensor in row.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NumericError(
                f"the frozen network gave a value that is not finite ({name})",
                where=f"example {id_}",
                hint="try `--set train.precision=fp32`, and look at this example",
            )
