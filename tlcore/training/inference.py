"""What a trained network says of stored or fresh states: the same for scoring, selecting and predicting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from tlcore.features.first_pass import StateReader

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

__all__ = ["in_batches", "outputs_of"]


@torch.inference_mode()
def outputs_of(network: nn.Module, reader: StateReader, ids: Sequence[str], accelerator: Accelerator) -> Tensor:
    """Return the outputs (N, outputs) for examples in their order, in fp32 on the CPU."""
    from accelerate.utils import send_to_device

    network.eval()
    found = [
        network(send_to_device(reader.batch(batch), accelerator.device)).float().cpu() for batch in in_batches(ids)
    ]
    return torch.cat(found)


def in_batches(ids: Sequence[str], size: int = 64) -> list[Sequence[str]]:
    """Return the ids in batches of ``size``, the last one as large as what is left."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]
