"""Prepare examples for the network: one row of tensors each, a little ahead of what takes them."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from typing import NamedTuple

import torch
from torch import Tensor

from tlcore.contracts import Backbone, State
from tlcore.errors import UnreadableError
from tlcore.features.batching import ragged_names, unstacked
from tlcore.features.keys import FeatureRequest
from tlcore.features.threads import torch_threads
from tlcore.plugins.errors import broken
from tlcore.plugins.validation import prepared_by

__all__ = ["REORDERED", "FeatureRow", "is_close", "prepare_rows"]

CHUNK = 32
"""Examples that are prepared in one call."""
AHEAD = 2
"""Chunks that are ready or wait for a thread while the network computes, besides those that threads prepare."""
REORDERED = 1e-5
"""Sums in another order, as with another memory layout, differ by this share of the largest value."""


class FeatureRow(NamedTuple):
    """A state without the batch dimension, its request, and the names of its ragged tensors."""

    request: FeatureRequest
    state: State
    ragged: list[str]


def prepare_rows(
    backbone: Backbone,
    requests: Iterable[FeatureRequest],
    unreadable: Callable[[FeatureRequest, str], None],
    progress: Callable[[int], None] = lambda done: None,
    *,
    threads: int = 1,
    verify: bool = False,
) -> Iterator[FeatureRow]:
    """Yield the prepared row of each readable example; ``unreadable`` gets the others, with the reason.

    ``threads`` prepare ahead. Only one of them prepares augmented versions at a time, since augmentation reads torch's
    global generator. With ``verify``, an example is prepared once more, alone.

    Raises:
        PluginError: that gives another row, or the tensors of examples differ in names or types.
    """
    chunks = _chunks(requests)
    augmenting = threading.Lock()
    dtypes: dict[str, torch.dtype] = {}
    done = 0

    def prepare(chunk: list[FeatureRequest]) -> tuple[list[FeatureRow], list[tuple[FeatureRequest, str]]]:
        with augmenting if chunk[0].view is not None else contextlib.nullcontext():
            return _prepare_chunk(backbone, chunk)

    # Each of several threads computes by itself, instead of starting threads of its own.
    single = torch_threads(1) if threads > 1 else contextlib.nullcontext()
    with single, ThreadPoolExecutor(threads, thread_name_prefix="prepare") as pool:
        pending = deque(pool.submit(prepare, chunk) for chunk in islice(chunks, threads + AHEAD))
        try:
            while pending:
                rows, failed = pending.popleft().result()
                if rows and not dtypes:
                    dtypes = _dtypes(rows[0].state)
                    if verify:
                        alone, _ = prepare([rows[-1].request])
                        _require_same_row(backbone, rows[-1], alone)
                if odd := next((row.request.name for row in rows if _dtypes(row.state) != dtypes), None):
                    raise broken(backbone, "prepare", f"gave tensors of other names or types for {odd} than before")
                pending.extend(pool.submit(prepare, chunk) for chunk in islice(chunks, 1))
                for request, reason in failed:
                    unreadable(request, reason)
                yield from rows
                done += len(rows) + len(failed)
                progress(done)
        finally:
            for future in pending:
                future.cancel()


def _chunks(requests: Iterable[FeatureRequest]) -> Iterator[list[FeatureRequest]]:
    """Yield the requests in chunks of one view."""
    for _, group in groupby(requests, key=lambda request: request.view):
        while chunk := list(islice(group, CHUNK)):
            yield chunk


def _prepare_chunk(
    backbone: Backbone, chunk: Sequence[FeatureRequest]
) -> tuple[list[FeatureRow], list[tuple[FeatureRequest, str]]]:
    """Prepare a chunk, by halves where it cannot be read; return its rows, and what is unreadable with the reason."""
    try:
        state = prepared_by(backbone, [request.example for request in chunk], chunk[0].view)
    except UnreadableError as error:
        if len(chunk) == 1:
            return [], [(chunk[0], str(error))]
        middle = len(chunk) // 2
        (rows, failed), (more, more_failed) = (
            _prepare_chunk(backbone, half) for half in (chunk[:middle], chunk[middle:])
        )
        return rows + more, failed + more_failed
    ragged = ragged_names(state)
    return [FeatureRow(request, row, ragged) for request, row in zip(chunk, unstacked(state), strict=True)], []


def _require_same_row(backbone: Backbone, row: FeatureRow, alone: Sequence[FeatureRow]) -> None:
    """Raise PluginError if an example prepared alone (no row if it has vanished) differs from its row in a chunk."""
    for name, values in row.state.items() if alone else ():
        others = alone[0].state.get(name)
        if others is None or not is_close(values, others, REORDERED):
            raise broken(
                backbone,
                "prepare",
                f"gave another {name} for {row.request.name} when it was asked for that one alone: it draws at random, "
                "mixes up rows, or makes a row depend on the others",
            )


def is_close(first: Tensor, second: Tensor, share: float) -> bool:
    """Return whether values differ by at most a share of the largest."""
    first, second = first.double(), second.double()
    if first.shape != second.shape or not torch.equal(first.isnan(), second.isnan()):
        return False
    apart = (first - second).abs() > share * first.abs().amax() if first.numel() else first.bool()
    return not bool(apart.any())


def _dtypes(state: State) -> dict[str, torch.dtype]:
    return {name: tensor.dtype for name, tensor in state.items()}
