"""The limit: one forward pass of VGG16's convolutions in bf16, channels last, over pictures decoded before."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.machine import Cost, spent
from benchmarks.rivals.answers import answer_forward
from benchmarks.rivals.pictures import pictures, vgg16

SPLITS = ("train", "val", "test")


def main() -> None:
    """Compute every picture once and say what that cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    given = parser.parse_args()
    network = vgg16(1)[0].eval().to(torch.bfloat16).to(memory_format=torch.channels_last)
    waiting: list[Tensor] = []
    cost = Cost(0.0, 0.0)
    with torch.inference_mode():
        # Once for warmth: the kernels are chosen and the memory is fetched.
        network(_batch([torch.zeros(3, 224, 224)] * given.batch))
        for pixels in (pixels for split in SPLITS for pixels, _ in pictures(given.photos, split, augmented=False)):
            waiting.append(pixels)
            if len(waiting) == given.batch:
                cost += _forward(network, waiting)
                waiting = []
        if waiting:
            cost += _forward(network, waiting)
    answer_forward(cost)


def _forward(network: torch.nn.Module, waiting: list[Tensor]) -> Cost:
    batch = _batch(waiting)
    began = spent()
    network(batch).mean((2, 3))
    return spent() - began


def _batch(rows: list[Tensor]) -> Tensor:
    return torch.stack(rows).to(torch.bfloat16, memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
