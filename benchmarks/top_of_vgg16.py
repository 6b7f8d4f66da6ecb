"""An epoch of training VGG16's last block and a head: tlcore from its stored maps beside full forward passes.

The plain loop's rates are those of tlcore's recipe. Its first row is as tutorials have it (fp32, batches of 4, random
crops); the other is the fastest that it can be made (bf16, channels last, batches of 32, no crops). An epoch is a
training and a validation phase. What tlcore computes and stores before its first epoch is not in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import KEPT_MEMORY, Place, tlcore_epoch
from benchmarks.contest import Contender, Settings, report
from benchmarks.inputs import draw_vehicles

EPOCHS = 4
"""Of tlcore, to take the median of."""
BEST = ["--bf16", "--batch", "32", "--plain-pictures"]


def measure(settings: Settings) -> dict[str, Any]:
    """Time an epoch of each, print a table and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings)
        photos = Path(folder) / "photos"
        draw_vehicles(photos, settings.examples)
        recipe = {
            "task": "image-classification",
            "data": {"source": "folder", "path": str(photos)},
            "backbone": {"name": "vgg16", "weights": "imagenet-features"},
            "adapter": {"name": "fine-tuning", "layers": 1, "head_lr_scale": 10},
            "train": {"epochs": EPOCHS, "optimizer": {"name": "adamw", "lr": 1e-4}},
            "seed": 7,
        }
        cache = Path(folder) / "cache"
        loop = [str(photos), "--trained", "block5", "--epochs", str(settings.measured_epochs)]
        after = f"scores after {settings.measured_epochs} of them"
        contenders = [
            Contender("tlcore", lambda: tlcore_epoch(place, recipe, cache=cache), f"scores after {EPOCHS} of them"),
            place.rival("plain loop, fp32", "plain_loop", loop, note=after),
            place.rival("plain loop, bf16", "plain_loop", [*loop, *BEST], note=after),
            place.rival(
                "plain loop, bf16, memory kept",
                "plain_loop",
                [*loop, *BEST],
                note=f"{after}; glibc told to keep freed memory",
                environment=KEPT_MEMORY,
            ),
        ]
        title = f"VGG16, an epoch of block 5 and head on {settings.examples} pictures"
        return report(title, contenders, settings, reference="tlcore", per=settings.examples)
