"""25 epochs on a frozen VGG16: tlcore beside the tutorials' loop, Hugging Face's Trainer, fastai, and the bare pass.

All have the same pictures, splits and 13 convolutions, and train a last layer on the mean over the last map. The rivals
see each training picture in another random crop in every epoch; tlcore sees it once, as recipes/vehicles.yaml says, or
in 4 stored crops in the row that says so. tlcore's time is that of the whole process with an empty feature store; the
test split, which rivals are not charged for, is in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import KEPT_MEMORY, Place, absent, tlcore_run
from benchmarks.contest import Contender, Settings, report
from benchmarks.inputs import draw_vehicles

EPOCHS = 25


def measure(settings: Settings) -> dict[str, Any]:
    """Time all of them, print a table and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings)
        photos = Path(folder) / "photos"
        draw_vehicles(photos, settings.examples)
        recipe: dict[str, Any] = {
            "task": "image-classification",
            "data": {"source": "folder", "path": str(photos)},
            "backbone": {"name": "vgg16", "weights": "imagenet-features"},
            "adapter": "feature-extraction",
            "train": {
                "epochs": EPOCHS,
                "optimizer": {"name": "adam", "lr": 1e-3},
                "scheduler": {"name": "step", "step_size": 7, "gamma": 0.1},
            },
            "seed": 7,
        }
        views = {
            **recipe,
            "backbone": {**recipe["backbone"], "augment": {"crop": 0.08}},
            "train": {**recipe["train"], "views": 4},
        }
        epochs = ["--epochs", str(min(settings.measured_epochs, EPOCHS))]
        contenders = [
            Contender("tlcore", lambda: tlcore_run(place, recipe), "the whole run, empty store"),
            place.rival("plain loop", "plain_loop", [str(photos), *epochs], epochs=EPOCHS),
            place.rival("Trainer", "trainer_pictures", [str(photos), *epochs], epochs=EPOCHS),
        ]
        if reason := absent("fastai"):
            print(reason)
        else:
            contenders.append(place.rival("fastai", "fastai_pictures", [str(photos), *epochs], epochs=EPOCHS))
        contenders += [
            Contender("tlcore, 4 stored crops", lambda: tlcore_run(place, views), "the whole run, empty store"),
            place.bare("bare pass", "bare_pictures", [str(photos)], note="forward alone, once, bf16"),
            place.bare(
                "bare pass, memory kept",
                "bare_pictures",
                [str(photos)],
                note="the same, glibc told to keep freed memory",
                environment=KEPT_MEMORY,
            ),
        ]
        title = f"frozen VGG16, {EPOCHS} epochs on {settings.examples} pictures"
        return report(title, contenders, settings, reference="tlcore", per=settings.examples)
