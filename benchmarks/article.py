"""25 epochs of `tl run` beside one epoch of the loop that tutorials teach, on the same 100 pictures.

The loop: ImageFolder, RandomResizedCrop and flips, batches of 4, frozen VGG16 with a new last layer, SGD 0.001 with
momentum 0.9, StepLR(7, 0.1), and in each epoch a training and a validation phase with full forward passes. Both are
timed as whole processes on the same cores, one after the other. The loop's VGG16 has random weights: they cost the
same time, and its accuracy is not looked at.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import described, timed

PICTURES = 100
EPOCHS = 25
REPEATS = 2
RECIPE = """
task: image-classification
data: {{source: folder, path: {photos}}}
backbone: {{name: vgg16, weights: imagenet-features}}
adapter: feature-extraction
train:
  epochs: {epochs}
  optimizer: {{name: adam, lr: 1.0e-3}}
  scheduler: {{name: step, step_size: 7, gamma: 0.1}}
"""


def measure() -> dict[str, Any]:
    """Time both, print a table and return the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _draw(folder / "photos")
        recipe = folder / "recipe.yaml"
        recipe.write_text(RECIPE.format(photos=json.dumps(str(folder / "photos")), epochs=EPOCHS), "utf-8")
        ours, theirs = [], []
        for repeat in range(REPEATS):
            theirs.append(timed(["-m", "benchmarks.article", str(folder / "photos")])[0])
            run = ["-m", "tlcore.cli", "run", str(recipe), "--json", "--out", str(folder / f"run{repeat}")]
            ours.append(timed(run)[0])
    figures = {
        "machine": described(),
        "pictures": PICTURES,
        "loop_seconds_for_1_epoch": theirs,
        "tlcore_seconds_for_25_epochs": ours,
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "ratio_of_25_epochs": (statistics.median(theirs) * EPOCHS) / statistics.median(ours),
    }
    print(figures["machine"])
    print(f"{PICTURES} pictures, medians of {REPEATS} runs, whole processes")
    print(f"  the tutorials' loop,  1 epoch   {statistics.median(theirs):8.1f} s")
    print(f"  tl run,              25 epochs  {statistics.median(ours):8.1f} s")
    print(f"  one of their epochs takes {figures['ratio']:.2f} times as long as our whole run of {EPOCHS};")
    print(f"  {EPOCHS} of theirs would take {figures['ratio_of_25_epochs']:.0f} times as long")
    return figures


def _draw(folder: Path) -> None:
    from tl_demo import DrawnVehiclesOptions
    from tl_demo.drawn_vehicles import DrawnVehicles

    for n, example in enumerate(DrawnVehicles(DrawnVehiclesOptions(count=PICTURES)).examples()):
        # Classes take turns, so each fifth round of five is a fifth of every class.
        path = folder / ("val" if n % 25 >= 20 else "train") / str(example.label) / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(example.input)


def loop(folder: Path) -> None:
    """Train for one epoch as tutorials do."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, models, transforms

    normalise = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    seen = {
        "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
        "val": [transforms.Resize(256), transforms.CenterCrop(224)],
    }
    sets = {
        phase: datasets.ImageFolder(str(folder / phase), transforms.Compose([*steps, transforms.ToTensor(), normalise]))
        for phase, steps in seen.items()
    }
    loaders = {
        phase: DataLoader(data, batch_size=4, shuffle=True, num_workers=min(4, os.cpu_count() or 1))
        for phase, data in sets.items()
    }
    model = models.vgg16()
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier[6] = nn.Linear(4096, len(sets["train"].classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.classifier[6].parameters(), lr=0.001, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    for phase in ("train", "val"):
        model.train(phase == "train")
        for inputs, labels in loaders[phase]:
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                loss = criterion(model(inputs), labels)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
        if phase == "train":
            scheduler.step()


if __name__ == "__main__":
    loop(Path(sys.argv[1]))
