"""MiniLM's features of 1,000 tweets: the first pass of `tl run` beside bare forward passes.

What the first pass costs is what a run with an empty feature store costs more than the same run with a full one: so
reading the texts, the sample that decides the precision, and writing the store are in it, and starting is not. The
phases by tlcore's own clock (manifest.json, wall time) are printed below the table.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import KEPT_MEMORY, Place, tlcore_run
from benchmarks.contest import Contender, Settings, Taken, report
from benchmarks.inputs import minilm_folder, write_tweets

MAX_LENGTH = 128
PHASES = ("data", "precision", "features")


def measure(settings: Settings) -> dict[str, Any]:
    """Time both, print a table and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings)
        table = Path(folder) / "tweets.csv"
        write_tweets(table, settings.examples)
        recipe = {
            "task": "text-classification",
            "data": {"source": "table", "path": str(table)},
            "backbone": {"name": "minilm", "max_length": MAX_LENGTH},
            "adapter": "feature-extraction",
            "train": {"epochs": 1},
            "evaluate": {"probe": False, "resamples": 0, "report": "none"},
            "seed": 7,
        }
        phases: list[dict[str, float]] = []

        def first_pass() -> Taken:
            cache = place.fresh("cache")
            first, second = (tlcore_run(place, recipe, cache=cache) for _ in range(2))
            shutil.rmtree(cache, ignore_errors=True)
            phases.append({name: first.details["phases"].get(name, 0.0) for name in PHASES})
            return Taken(first.cost - second.cost, details=first.details)

        texts = [str(table), str(minilm_folder())]
        sorted_ = "sorted by length"
        contenders = [
            Contender("tlcore", first_pass, "a run with an empty store less one with a full store"),
            place.bare("bare pass, fp32", "bare_texts", [*texts, "--fp32"], note=sorted_),
            place.bare("bare pass, bf16", "bare_texts", texts, note=sorted_),
            place.bare(
                "bare pass, bf16, memory kept",
                "bare_texts",
                texts,
                note=f"{sorted_}; glibc told to keep freed memory",
                environment=KEPT_MEMORY,
            ),
        ]
        title = f"features of {settings.examples} tweets by MiniLM"
        figures = report(title, contenders, settings, reference="bare pass, bf16", per=settings.examples)
    medians = {name: statistics.median(one[name] for one in phases) for name in PHASES}
    print("  tlcore by its own clock: " + ", ".join(f"{name} {value:.2f} s" for name, value in medians.items()))
    return {**figures, "phases": medians}
