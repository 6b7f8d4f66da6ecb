"""fastai's Learner on the same frozen VGG16: random crops and flips, batches of 8, one cycle."""

from __future__ import annotations

import argparse
import importlib
import itertools
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.machine import Cost, spent
from benchmarks.rivals.answers import answer
from benchmarks.rivals.pictures import pictures, vgg16
from tl_vision.original_vgg16 import MEAN, STD

SIDE = 224


def main() -> None:
    """Train for some epochs and score the test split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args()
    # An extra, so imported by name: whoever checks this file's types need not have it.
    fastai: Any = importlib.import_module("fastai.vision.all")
    torch.manual_seed(0)
    blocks = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_items=fastai.get_image_files,
        splitter=fastai.GrandparentSplitter("train", "val"),
        get_y=fastai.parent_label,
        item_tfms=fastai.RandomResizedCrop(SIDE),
        batch_tfms=[fastai.Flip(), fastai.Normalize.from_stats(MEAN, STD)],
    )
    loaders = blocks.dataloaders(
        given.photos, bs=given.batch, num_workers=given.workers, device=torch.device("cpu"), drop_last=False
    )
    network = vgg16(len(loaders.vocab))
    marks: list[Cost] = []

    def note() -> None:
        marks.append(spent())

    class Clock(fastai.Callback):  # type: ignore[misc, name-defined, unused-ignore]
        """Notes what each epoch costs, its validation included."""

        def before_epoch(self) -> None:
            note()

        def after_fit(self) -> None:
            note()

    learner = fastai.Learner(
        loaders,
        network,
        loss_func=nn.CrossEntropyLoss(),
        metrics=fastai.accuracy,
        splitter=lambda model: [fastai.params(model[0]), fastai.params(model[1])],
        path=given.out,
        cbs=[Clock()],
    )
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(given.epochs, 1e-3)
    began = spent()
    labels, predicted = _predicted(network, given.photos)
    scoring = spent() - began
    answer([later - earlier for earlier, later in itertools.pairwise(marks)], scoring, labels, predicted)


def _predicted(network: nn.Module, photos: Path) -> tuple[list[int], list[int]]:
    labels, predicted = [], []
    network.eval()
    with torch.no_grad():
        for pixels, label in pictures(photos, "test", augmented=False):
            predicted.append(int(network(pixels[None]).argmax()))
            labels.append(int(label))
    return labels, predicted


if __name__ == "__main__":
    main()
