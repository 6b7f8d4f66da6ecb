"""What a run costs as the data grows: processor time per example and the most memory without a file behind it.

Tiny pictures of noise on a frozen ResNet-18 with random weights at 32 pixels, 25 epochs, an empty feature store.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contenders import Place, tlcore_run
from benchmarks.contest import Settings, Taken, table
from benchmarks.inputs import write_tiny_pictures
from benchmarks.machine import described

SIZES = (1_000, 5_000, 20_000, 100_000)
SIDE = 32
PHASES = ("data", "features", "training", "evaluation")
BAR = 40


def measure(settings: Settings) -> dict[str, Any]:
    """Run with each size, print a table and return the figures."""
    sizes = sorted({*(size for size in SIZES if size < settings.examples), settings.examples})
    taken: dict[int, list[Taken]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), settings)
        for size in sizes:
            write_tiny_pictures(Path(folder) / f"pictures-{size}", size, side=SIDE)
        for _ in range(settings.repeats):
            for size in sizes:
                taken[size].append(tlcore_run(place, _recipe(Path(folder) / f"pictures-{size}")))
    rows = [_row(size, taken[size]) for size in sizes]
    _print(rows, settings)
    return {"machine": described(), "rows": rows}


def _recipe(pictures: Path) -> dict[str, Any]:
    return {
        "task": "image-classification",
        "data": {"source": "folder", "path": str(pictures)},
        "backbone": {"name": "resnet18", "weights": "random", "size": SIDE, "resize": SIDE},
        "adapter": "feature-extraction",
        "train": {"epochs": 25},
        "seed": 7,
    }


def _row(size: int, taken: list[Taken]) -> dict[str, Any]:
    cpu = statistics.median(one.cost.cpu for one in taken)
    return {
        "examples": size,
        "cpu_seconds": cpu,
        "wall_seconds": statistics.median(one.cost.wall for one in taken),
        "cpu_ms_per_example": 1000 * cpu / size,
        "peak_anonymous_bytes": statistics.median(one.details["peak_anonymous"] for one in taken),
        "phases": {name: statistics.median(one.details["phases"].get(name, 0.0) for one in taken) for name in PHASES},
    }


def _print(rows: list[dict[str, Any]], settings: Settings) -> None:
    print(described())
    print(f"whole runs of 25 epochs; {settings.threads} threads; medians of {settings.repeats} turns")
    heads = ["examples", "CPU s", "wall s", "CPU ms/example", "ms per further one", "memory MB", *PHASES, ""]
    most = max(row["peak_anonymous_bytes"] for row in rows) or 1
    cells, last = [heads], None
    for row in rows:
        further = "" if last is None else f"{_further(last, row):.2f}"
        cells.append(
            [
                f"{row['examples']:,}",
                f"{row['cpu_seconds']:.1f}",
                f"{row['wall_seconds']:.1f}",
                f"{row['cpu_ms_per_example']:.2f}",
                further,
                f"{row['peak_anonymous_bytes'] / 2**20:.0f}",
                *(f"{row['phases'][name]:.1f}" for name in PHASES),
                "#" * round(BAR * row["peak_anonymous_bytes"] / most),
            ]
        )
        last = row
    table(cells, [">"] * (len(heads) - 1) + ["<"])
    print("  bars: memory; phases in wall seconds; a further example: what start-up costs is not in it")


def _further(fewer: dict[str, Any], more: dict[str, Any]) -> float:
    """Return the milliseconds that each example costs that one run has more than another."""
    return 1000 * float(more["cpu_seconds"] - fewer["cpu_seconds"]) / float(more["examples"] - fewer["examples"])
