"""How busy the device is: pictures per second of tlcore's first pass and training beside its bare forward pass.

ResNet-18 with random weights on drawn vehicles in files, on a GPU if torch finds one. The bare pass computes one batch
of prepared pictures over and over, in the precision that the run chose: nothing is read, prepared or stored.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import Place, tlcore_run
from benchmarks.contest import Settings, table
from benchmarks.inputs import draw_vehicles
from benchmarks.machine import described

if TYPE_CHECKING:
    from tlcore import Backbone

ROWS = {"cpu": 16, "cuda": 256}
WARM = 2
LEAST_SECONDS = 3.0


def measure(settings: Settings) -> dict[str, Any]:
    """Run, compute bare passes, print a table and return the figures."""
    import torch

    torch.set_num_threads(settings.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        draw_vehicles(photos, settings.examples)
        place = Place(Path(folder), settings)
        frozen = [tlcore_run(place, _recipe(photos, trained=False)).details for _ in range(settings.repeats)]
        whole = [tlcore_run(place, _recipe(photos, trained=True)).details for _ in range(settings.repeats)]
        picture = min(photos.rglob("*.jpg"))
        bare = [_bare(picture, device, frozen[0]["precision"]) for _ in range(settings.repeats)]
    rows = {
        "bare forward pass": (statistics.median(bare), None),
        "first pass": _medians([details["throughput"]["first_pass"] for details in frozen]),
        "training of all stages, augmented": _medians([details["throughput"]["training"] for details in whole]),
    }
    where = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    print(f"{described()}, {where}")
    print(f"ResNet-18, {settings.examples} pictures, {frozen[0]['precision']}; {settings.threads} threads")
    _print(rows)
    return {"machine": described(), "device": where, "rows": rows, "frozen": frozen, "whole": whole}


def _recipe(photos: Path, *, trained: bool) -> dict[str, Any]:
    backbone = {"name": "resnet18", "weights": "random"}
    return {
        "task": "image-classification",
        "data": {"source": "folder", "path": str(photos)},
        "backbone": {**backbone, "augment": {"crop": 0.3}} if trained else backbone,
        "adapter": {"name": "fine-tuning", "layers": "all"} if trained else "feature-extraction",
        "train": {"epochs": 2},
        "evaluate": {"report": "none", "probe": False},
        "seed": 7,
    }


def _bare(picture: Path, device: str, precision: str) -> float:
    """Return pictures per second."""
    import torch

    from tlcore import Example
    from tlcore.features.extractor import FrozenStages

    backbone = _backbone()
    number_format = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    network = FrozenStages(backbone, 0, len(backbone.stages)).eval()
    network = network.to(device, number_format).to(memory_format=torch.channels_last)
    hidden = backbone.prepare([Example("a", picture)] * ROWS[device], None)["hidden"]
    hidden = hidden.to(device, number_format).contiguous(memory_format=torch.channels_last)
    done, began = -WARM, 0.0
    with torch.inference_mode():
        while done <= 0 or time.perf_counter() - began < LEAST_SECONDS:
            if done == 0:
                began = time.perf_counter()
            next(iter(network({"hidden": hidden}).values())).cpu()  # it waits for the device
            done += 1
        return done * ROWS[device] / (time.perf_counter() - began)


def _backbone() -> Backbone:
    from tlcore.plugins.host import PluginHost
    from tlcore.plugins.registry import Registry

    spec = Registry(PluginHost()).find("backbone", "resnet18").spec
    backbone: Backbone = spec.build(spec.options(weights="random"), None)
    return backbone


def _medians(facts: list[dict[str, float]]) -> tuple[float, float | None]:
    rates, shares = ([one[name] for one in facts] for name in ("examples_per_second", "waiting_share"))
    return statistics.median(rates), statistics.median(shares)


def _print(rows: dict[str, tuple[float, float | None]]) -> None:
    limit = rows["bare forward pass"][0]
    cells = [["", "pictures/s", "of the bare pass", "waited"]]
    for name, (rate, waited) in rows.items():
        cells.append([name, f"{rate:.1f}", f"{rate / limit:.0%}", "" if waited is None else f"{waited:.0%}"])
    table(cells, ["<", ">", ">", ">"])
    print("  waited: the share of the seconds in which nothing was computed because no prepared picture was there")
