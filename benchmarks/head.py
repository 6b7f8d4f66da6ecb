"""25 epochs of a linear head on 10,000 stored features of 512 numbers, in batches of 32, scored after every epoch."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import described

EXAMPLES, SCORED, WIDTH, CLASSES = 10_000, 2_000, 512, 5


def measure() -> dict[str, Any]:
    """Train, print the seconds and return them."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = _trained(Path(folder))
    figures = {"machine": described(), "threads": torch.get_num_threads(), "wall_seconds": wall, "cpu_seconds": cpu}
    print(figures["machine"])
    print(f"25 epochs of a head on {EXAMPLES:,} features of {WIDTH}: {wall:.2f} s, {cpu:.2f} s of processor time")
    return figures


def _trained(folder: Path) -> tuple[float, float]:
    import torch
    from torch import nn

    from tlcore import Classification, Example, Plan
    from tlcore.features.cache import CacheConfig, FeatureCache
    from tlcore.features.keys import FeatureKeys, Namespace
    from tlcore.features.readers import CachedReader
    from tlcore.recipe import TrainSection
    from tlcore.training.checkpoints import Checkpoints
    from tlcore.training.device import accelerator_for
    from tlcore.training.model import TrainableModel
    from tlcore.training.trainer import Trainer, TrainerConfig

    class Anything:
        feature_dim = WIDTH
        stages = {"one": nn.Identity()}  # noqa: RUF012

    torch.manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH)
    cache = FeatureCache(CacheConfig(folder / "store", Namespace({"network": "none"})))
    examples, digests = {}, {}
    for n in range(EXAMPLES + SCORED):
        id_ = f"{n:06d}"
        examples[id_] = Example(id_, n, str(n % CLASSES), "train" if n < EXAMPLES else "validation")
        digests[id_] = hashlib.sha256(id_.encode()).hexdigest()
        cache.add(bytes.fromhex(digests[id_]), {"features": centres[n % CLASSES] + 9 * torch.randn(WIDTH)}, [])
    cache.flush()
    cache.missing({bytes.fromhex(digest) for digest in digests.values()})
    train = [example for example in examples.values() if example.split == "train"]
    validation = [example for example in examples.values() if example.split == "validation"]
    task = Classification()
    task.fit([example.label for example in train])
    plan = Plan(freeze_line=1, head=nn.Linear(WIDTH, CLASSES))
    model = TrainableModel(Anything(), plan)  # type: ignore[arg-type]
    reader = CachedReader(cache, examples, FeatureKeys(digests))
    section = dataclasses.replace(TrainSection(), epochs=25, batch_size=32)
    config = TrainerConfig(section, seed=1, cache_bytes=1e9)
    trainer = Trainer(model, reader, task, accelerator_for("cpu", "fp32"), config)
    trainer.features.fit_scaler(train)
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train(train, validation, Checkpoints(folder / "kept"), lambda *told: None)
    return time.perf_counter() - wall, time.process_time() - cpu
