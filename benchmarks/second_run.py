"""A second run of the same recipe, when the feature store has everything, beside importing the libraries it needs.

For a frozen VGG16 on drawn vehicles and a frozen MiniLM on tweets. The first run, with an empty store, is done once.
With more than 1,000 pictures it would take hours: they are then tiny ones of noise, on a ResNet-18 with random weights.
Its features are as wide as those of VGG16's convolutions.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import Place, tlcore_run
from benchmarks.contest import Contender, Settings, Taken, report
from benchmarks.inputs import draw_vehicles, write_tiny_pictures, write_tweets
from benchmarks.machine import observed

IMPORTS = {
    "pictures": ("torch", "accelerate", "torchvision"),
    "texts": ("torch", "accelerate", "transformers.models.bert.modeling_bert"),
}

MOST_VEHICLES = 1000
SIDE = 32


def measure(settings: Settings) -> dict[str, Any]:
    """Time both for pictures and texts, print a table for each and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings)
        photos, table = Path(folder) / "photos", Path(folder) / "tweets.csv"
        write_tweets(table, settings.examples)
        if settings.examples > MOST_VEHICLES:
            write_tiny_pictures(photos, settings.examples, side=SIDE)
            backbone: dict[str, Any] = {"name": "resnet18", "weights": "random", "size": SIDE, "resize": SIDE}
        else:
            draw_vehicles(photos, settings.examples)
            backbone = {"name": "vgg16", "weights": "imagenet-features"}
        return {kind: _second(place, kind, recipe) for kind, recipe in frozen(photos, table, backbone).items()}


def frozen(photos: Path, table: Path, backbone: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a recipe for pictures and one for texts, each with a frozen network."""
    return {
        "pictures": {
            "task": "image-classification",
            "data": {"source": "folder", "path": str(photos)},
            "backbone": backbone,
            "adapter": "feature-extraction",
            "seed": 7,
        },
        "texts": {
            "task": "text-classification",
            "data": {"source": "table", "path": str(table)},
            "backbone": "minilm",
            "adapter": "feature-extraction",
            "seed": 7,
        },
    }


def _second(place: Place, kind: str, recipe: dict[str, Any]) -> dict[str, Any]:
    settings = place.settings
    cache = place.fresh("cache")
    first = tlcore_run(place, recipe, cache=cache)
    reused: list[int] = []

    def again() -> Taken:
        taken = tlcore_run(place, recipe, cache=cache)
        reused.append(taken.details["features"]["computed"])
        return taken

    def imports() -> Taken:
        return Taken(observed(["-m", "benchmarks.rivals.imports", *IMPORTS[kind]], threads=settings.threads).cost)

    contenders = [
        Contender("imports", imports, ", ".join(IMPORTS[kind])),
        Contender("tlcore, second run", again, "25 epochs, the whole process"),
    ]
    title = f"a second run on {settings.examples} {kind}"
    figures = report(title, contenders, settings, reference="imports", per=settings.examples)
    print(f"  the first run took {first.cost.cpu:.2f} s of processor time, {first.cost.wall:.2f} s")
    print(f"  states computed anew in the second runs: {', '.join(map(str, reused))}")
    return {**figures, "first": vars(first.cost), "computed_again": reused}
