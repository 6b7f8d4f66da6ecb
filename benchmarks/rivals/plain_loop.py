"""The loop that tutorials on transfer learning teach, written out: a training and a validation phase in each epoch.

ImageFolder, RandomResizedCrop and flips, batches of 4, 4 worker processes, frozen VGG16 with a new last layer, SGD
0.001 with momentum 0.9, StepLR(7, 0.1). With ``--trained block5`` the last block learns too, with AdamW 0.0001 (0.001
for the last layer), as in recipes/vehicles-finetune.yaml. ``--bf16`` computes by autocast, channels last.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.machine import spent
from benchmarks.rivals.answers import answer
from benchmarks.rivals.pictures import BLOCK5, pictures, vgg16


def main() -> None:
    """Train for some epochs and score the test split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, help="not used: nothing is written")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trained", choices=("head", "block5"), default="head")
    parser.add_argument("--plain-pictures", action="store_true", help="no random crops and flips")
    parser.add_argument("--bf16", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    sets = {
        split: pictures(given.photos, split, augmented=split == "train" and not given.plain_pictures)
        for split in ("train", "val", "test")
    }
    loaders = {
        split: DataLoader(data, batch_size=given.batch, shuffle=split == "train", num_workers=given.workers)
        for split, data in sets.items()
    }
    features, top = vgg16(len(sets["train"].classes))
    model = nn.Sequential(features, top)
    optimizer: torch.optim.Optimizer
    if given.trained == "head":
        optimizer = torch.optim.SGD(top.parameters(), lr=0.001, momentum=0.9)
    else:
        block = [parameter for layer in list(features.children())[BLOCK5:] for parameter in layer.parameters()]
        for parameter in block:
            parameter.requires_grad = True
        groups: list[dict[str, Any]] = [{"params": block}, {"params": list(top.parameters()), "lr": 1e-3}]
        optimizer = torch.optim.AdamW(groups, lr=1e-4)
    if given.bf16:
        model = model.to(memory_format=torch.channels_last)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    epochs = []
    for _ in range(given.epochs):
        began = spent()
        for phase in ("train", "val"):
            _phase(model, loaders[phase], optimizer, training=phase == "train", bf16=given.bf16)
        scheduler.step()
        epochs.append(spent() - began)
    began = spent()
    labels, predicted = _predicted(model, loaders["test"], bf16=given.bf16)
    answer(epochs, spent() - began, labels, predicted)


def _phase(
    model: nn.Module, loader: DataLoader[Any], optimizer: torch.optim.Optimizer, *, training: bool, bf16: bool
) -> None:
    criterion = nn.CrossEntropyLoss()
    model.train(training)
    running_loss, running_corrects = 0.0, 0
    for inputs, labels in loader:
        optimizer.zero_grad()
        with torch.set_grad_enabled(training), _format(bf16):
            outputs = model(_laid_out(inputs, bf16))
            loss = criterion(outputs, labels)
        if training:
            loss.backward()
            optimizer.step()
        running_loss += loss.item() * len(labels)
        running_corrects += int((outputs.argmax(1) == labels).sum())


def _predicted(model: nn.Module, loader: DataLoader[Any], *, bf16: bool) -> tuple[list[int], list[int]]:
    labels, predicted = [], []
    model.eval()
    with torch.no_grad(), _format(bf16):
        for inputs, truth in loader:
            predicted += model(_laid_out(inputs, bf16)).argmax(1).tolist()
            labels += truth.tolist()
    return labels, predicted


def _format(bf16: bool) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()


def _laid_out(inputs: torch.Tensor, bf16: bool) -> torch.Tensor:
    return inputs.to(memory_format=torch.channels_last) if bf16 else inputs


if __name__ == "__main__":
    main()
