"""What a trained network says of stored or fresh states: the same for scoring, selecting and predicting."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from tlcore.contracts import State
from tlcore.features.batching import length_of, stacked
from tlcore.features.keys import FeatureRequest
from tlcore.features.preparation import FeatureRow
from tlcore.features.readers import StateReader

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

Item = TypeVar("Item")

__all__ = ["by_length", "in_batches", "moved", "outputs_of", "streamed"]

ROWS_AT_ONCE = 512


@torch.inference_mode()
def outputs_of(network: nn.Module, reader: StateReader, ids: Sequence[str], accelerator: Accelerator) -> Tensor:
    """Return the outputs (N, outputs) for examples in their order, in fp32 on the CPU."""
    network.eval()
    order = by_length(reader, ids)
    ordered = [ids[place] for place in order]
    batches = in_batches(ordered)
    with reader.prefetch(batches):
        found = [network(moved(reader.batch(batch), accelerator.device)).float().cpu() for batch in batches]
    outputs = torch.cat(found)
    back = torch.empty(len(order), dtype=torch.int64)
    back[torch.tensor(order)] = torch.arange(len(order))
    return outputs[back]


def by_length(reader: StateReader, ids: Sequence[str]) -> list[int]:
    """Return the places of ids so that states of about the same length stand together; as they stand if none has one.

    What stands together is padded to the longest of a batch.
    """
    if not any(lengths := reader.lengths(ids)):
        return list(range(len(ids)))
    return sorted(range(len(ids)), key=lambda place: lengths[place])


def moved(state: State, device: torch.device) -> State:
    """Return the state on a device."""
    return {name: tensor.to(device) for name, tensor in state.items()}


def streamed(
    network: nn.Module, rows: Iterator[FeatureRow], accelerator: Accelerator
) -> Iterator[tuple[FeatureRequest, Tensor]]:
    """Yield what the network says of each state, in no particular order; only some of them are held at a time."""
    network.eval()
    while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
        some.sort(key=lambda row: length_of(row.state, row.ragged))  # so that few places are padding
        for batch in in_batches(some):
            state = stacked([row.state for row in batch], batch[0].ragged)
            with torch.inference_mode():
                outputs = network(moved(state, accelerator.device)).float().cpu()
            yield from zip((row.request for row in batch), outputs, strict=True)


def in_batches(items: Sequence[Item], size: int = 64) -> list[Sequence[Item]]:
    """Return the items in batches of ``size``, the last one as large as what is left."""
    return [items[start : start + size] for start in range(0, len(items), size)]
