"""Does pre-training help? VGG16 with ImageNet weights beside the same network with random ones, frozen in both cases.

1,000 drawn vehicles, three seeds (each seed draws other pictures), the shipped recipe otherwise.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import described, timed

SEEDS = (1, 2, 3)
WEIGHTS = ("imagenet-features", "random")


def measure() -> dict[str, Any]:
    """Run the recipe for each weights and seed, print a table and return the figures."""
    recipe = Path(__file__).parents[1] / "recipes" / "vehicles.yaml"
    scores: dict[str, list[float]] = {weights: [] for weights in WEIGHTS}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            for weights in WEIGHTS:
                settings = [f"backbone.weights={weights}", f"data.seed={seed}", f"seed={seed}", "train.precision=bf16"]
                options = [part for setting in settings for part in ("--set", setting)]
                out = f"{folder}/{weights}-{seed}"
                answer = timed(["-m", "tlcore.cli", "run", str(recipe), "--json", "--out", out, *options])[1]
                scores[weights].append(json.loads(answer)["metrics"]["test"]["macro_f1"])
    means = {weights: statistics.mean(values) for weights, values in scores.items()}
    print(described())
    for weights, values in scores.items():
        each = "  ".join(f"{value:.3f}" for value in values)
        print(f"  {weights:18} macro F1  {each}   mean {means[weights]:.3f}")
    print(f"  pre-training gains {100 * (means[WEIGHTS[0]] - means[WEIGHTS[1]]):.1f} points")
    return {"machine": described(), "seeds": SEEDS, "macro_f1": scores, "means": means}
