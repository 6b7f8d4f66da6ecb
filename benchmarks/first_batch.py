"""A run until its network sees the first batch, beside importing torch, Accelerate and the backbone's library."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import OFFLINE, Place
from benchmarks.contest import Contender, Settings, Taken, report
from benchmarks.inputs import write_tiny_pictures, write_tweets
from benchmarks.machine import observed
from benchmarks.second_run import IMPORTS, frozen


def measure(settings: Settings) -> dict[str, Any]:
    """Time both for pictures and texts, print a table for each and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings)
        photos, table = Path(folder) / "photos", Path(folder) / "tweets.csv"
        write_tiny_pictures(photos, settings.examples, side=64)
        write_tweets(table, settings.examples)
        backbone = {"name": "vgg16", "weights": "imagenet-features"}
        return {kind: _started(place, kind, recipe) for kind, recipe in frozen(photos, table, backbone).items()}


def _started(place: Place, kind: str, recipe: dict[str, Any]) -> dict[str, Any]:
    settings = place.settings
    path = place.fresh("recipe").with_suffix(".yaml")
    path.write_text(json.dumps(recipe), "utf-8")

    def imports() -> Taken:
        return Taken(observed(["-m", "benchmarks.rivals.imports", *IMPORTS[kind]], threads=settings.threads).cost)

    cache = place.fresh("cache")

    def run() -> Taken:
        command = ["-m", "benchmarks.until_first_batch", "run", str(path), "--out", str(place.fresh("run"))]
        environment = {**OFFLINE, "TL_CACHE": str(cache)}
        return Taken(observed(command, threads=settings.threads, environment=environment).cost)

    contenders = [
        Contender("imports", imports, ", ".join(IMPORTS[kind])),
        Contender("tl run, to its first batch", run, f"{settings.examples} examples, nothing stored"),
    ]
    return report(f"start of a run on {kind}", contenders, settings, reference="imports", per=1)
