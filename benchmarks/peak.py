"""How much of the processor's bf16 peak the first pass reaches: matrix products, VGG16 bare, and as tlcore runs it.

The peak is the fastest of several large matrix products. Pictures are prepared before; the batch is the same each time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.contest import Settings, table
from benchmarks.machine import described

SHAPES = ((1024, 1024, 4096), (2048, 2048, 4096), (4096, 4096, 4096), (512, 512, 8192))
GIGA_PER_PICTURE = 30.69
"""Floating-point operations of VGG16's 13 convolutions at 224 x 224: 15.35 billion products and as many sums."""
ROWS = 16


def measure(settings: Settings) -> dict[str, Any]:
    """Take turns, print a table of medians and return the figures."""
    import torch

    from tlcore.training.device import accelerator_for, keep_freed_memory

    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    accelerator_for("cpu", "bf16")
    products = [_product(torch.Generator().manual_seed(0), shape) for shape in SHAPES]
    work = {"VGG16, bare": _bare(), "VGG16, tlcore's frozen part": _tlcore()}
    seen: dict[str, list[float]] = {"matrix products": [], **{name: [] for name in work}}
    for _ in range(settings.repeats):
        seen["matrix products"].append(max(giga / _seconds(call) for giga, call in products))
        for name, call in work.items():
            seen[name].append(ROWS * GIGA_PER_PICTURE / _seconds(call))
    rows = {name: statistics.median(values) for name, values in seen.items()}
    best = max(rows["matrix products"], rows["VGG16, bare"])
    print(described())
    print(f"bf16, {settings.threads} threads, processor time; medians of {settings.repeats} turns, taken in rotation")
    cells = [[name, f"{value:.0f}", f"{value / best:.0%}"] for name, value in rows.items()]
    table([["", "GFLOP/s", "of the fastest"], *cells], ["<", ">", ">"])
    return {"machine": described(), "rows": rows}


def _product(drawn: Any, shape: tuple[int, int, int]) -> tuple[float, Callable[[], Any]]:
    import torch

    rows, columns, depth = shape
    first = torch.randn(rows, depth, generator=drawn).bfloat16()
    second = torch.randn(columns, depth, generator=drawn).bfloat16().t()
    return 2e-9 * rows * columns * depth, lambda: first @ second


def _bare() -> Callable[[], Any]:
    import torch

    from benchmarks.rivals.pictures import vgg16

    network = vgg16(1)[0].eval().to(torch.bfloat16).to(memory_format=torch.channels_last)
    batch = torch.zeros(ROWS, 3, 224, 224).to(torch.bfloat16, memory_format=torch.channels_last)

    def call() -> Any:
        with torch.inference_mode():
            return network(batch).mean((2, 3))

    return call


def _tlcore() -> Callable[[], Any]:
    import torch

    from tl_vision import VGG16Options
    from tl_vision.network import PictureNetwork
    from tlcore import Example
    from tlcore.features.extractor import FeatureExtractor
    from tlcore.features.keys import FeatureRequest
    from tlcore.features.preparation import FeatureRow
    from tlcore.training.device import accelerator_for

    backbone = PictureNetwork("vgg16", VGG16Options(), None)
    extractor = FeatureExtractor(backbone, len(backbone.stages), accelerator_for("cpu", "bf16"))
    picture = torch.zeros(3, 224, 224)
    requests = [FeatureRequest(b"", str(n), Example(str(n), None)) for n in range(ROWS)]
    rows = [FeatureRow(request, {"hidden": picture}, []) for request in requests]
    return lambda: list(extractor.states(rows))


def _seconds(call: Callable[[], Any]) -> float:
    call()  # for warmth
    began = time.process_time()
    call()
    return time.process_time() - began
