"""The first pass: each example once through preparation and the frozen stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tlcore.contracts import Backbone, Example, Problem, State
from tlcore.errors import DataError, NumericError, UnreadableError
from tlcore.features.batching import Buckets, ragged_names, unstacked
from tlcore.features.store import FeatureStore

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

__all__ = ["FEATURES", "FreshStates", "StateReader", "first_pass", "lower_part", "prepared"]

FEATURES = "features"
"""The one tensor of a state above the last stage: what ``pool`` returned."""
PREPARED_AT_ONCE = 32


class StateReader(Protocol):
    """States at the line, by example id."""

    def batch(self, ids: Sequence[str]) -> State:
        """Return the states of these examples as one batch."""
        ...


class FreshStates:
    """States at the bottom line: nothing lies below, so each is prepared anew whenever it is read."""

    def __init__(self, backbone: Backbone, examples: Mapping[str, Example]) -> None:
        self._backbone = backbone
        self._examples = examples

    def batch(self, ids: Sequence[str]) -> State:
        """Prepare these examples as one batch."""
        try:
            return self._backbone.prepare([self._examples[id_] for id_ in ids], None)
        except UnreadableError as error:
            raise DataError(
                f"an example that could be read a moment ago cannot be read now: {error}",
                where=f"one of: {', '.join(ids)}",
                hint="keep the data unchanged while a run reads it",
            ) from error


def first_pass(
    backbone: Backbone,
    line: int,
    examples: Sequence[Example],
    accelerator: Accelerator,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[StateReader, list[Problem]]:
    """Compute what lies below the line for every example, once; return where to read it and what was unreadable.

    With the line at the bottom every example is prepared all the same, so that nothing unreadable is met in training.

    Raises:
        NumericError: a state that is not finite.
    """
    import torch
    from accelerate.utils import send_to_device

    problems: list[Problem] = []
    rows = prepared(backbone, examples, problems, progress)
    if line == 0:
        for _ in rows:
            pass
        return FreshStates(backbone, {example.id: example for example in examples}), problems
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
    return store, problems


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
) -> Iterator[tuple[str, State, list[str]]]:
    """Yield id, prepared row and ragged names for each readable example; add the others to ``problems``."""
    for start in range(0, len(examples), PREPARED_AT_ONCE):
        chunk = examples[start : start + PREPARED_AT_ONCE]
        for readable, state in _readable(backbone, chunk, problems):
            ragged = ragged_names(state)
            for example, row in zip(readable, unstacked(state), strict=True):
                yield example.id, row, ragged
        progress(start + len(chunk), len(examples))


def _readable(
    backbone: Backbone, chunk: Sequence[Example], problems: list[Problem]
) -> Iterator[tuple[Sequence[Example], State]]:
    try:
        yield chunk, backbone.prepare(chunk, None)
    except UnreadableError as error:
        if len(chunk) == 1:
            problems.append(Problem(chunk[0].id, str(error)))
            return
        middle = len(chunk) // 2
        yield from _readable(backbone, chunk[:middle], problems)
        yield from _readable(backbone, chunk[middle:], problems)


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
