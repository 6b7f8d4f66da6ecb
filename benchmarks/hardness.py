"""How hard the drawn vehicles are: 32x32 pixels beside frozen VGG16, both with the same logistic regression.

The first 70 % of each seed's drawings train, the rest test; features are standardised.
"""

from __future__ import annotations

from typing import Any

from benchmarks.machine import described

SEEDS = (0, 1)
COUNT = 1000
SIDE = 32


def measure() -> dict[str, Any]:
    """Score both on each seed, print a table and return the figures."""
    found: dict[str, list[float]] = {"32x32 pixels": [], "frozen VGG16": []}
    for seed in SEEDS:
        examples = _drawn(seed)
        labels = [str(example.label) for example in examples]
        found["32x32 pixels"].append(_accuracy(_pixels(examples), labels))
        found["frozen VGG16"].append(_accuracy(_features(examples), labels))
    print(described())
    for name, values in found.items():
        print(f"  {name:14} accuracy  " + "  ".join(f"{value:.3f}" for value in values))
    return {"machine": described(), "seeds": SEEDS, "accuracy": found}


def _drawn(seed: int) -> list[Any]:
    from tl_demo import DrawnVehiclesOptions
    from tl_demo.drawn_vehicles import DrawnVehicles

    return list(DrawnVehicles(DrawnVehiclesOptions(count=COUNT, seed=seed)).examples())


def _pixels(examples: list[Any]) -> Any:
    import numpy

    from tl_vision.decoding import decoded

    return numpy.stack([numpy.asarray(decoded(e.input).resize((SIDE, SIDE))).ravel() for e in examples]) / 255


def _features(examples: list[Any]) -> Any:
    import torch

    from tl_vision import VGG16Options
    from tl_vision.network import PictureNetwork
    from tlcore.features.extractor import FEATURES, FeatureExtractor
    from tlcore.features.keys import FeatureRequest
    from tlcore.features.preparation import prepare_rows
    from tlcore.training.device import accelerator_for

    backbone = PictureNetwork("vgg16", VGG16Options(), None)
    extractor = FeatureExtractor(backbone, len(backbone.stages), accelerator_for("auto", "bf16"))
    requests = [FeatureRequest(example.id.encode(), example.id, example) for example in examples]
    prepared = prepare_rows(backbone, requests, lambda request, reason: None)
    rows = {row.request.name: row.state[FEATURES] for row in extractor.states(prepared)}
    return torch.stack([rows[example.id] for example in examples]).numpy()


def _accuracy(rows: Any, labels: list[str]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train = int(0.7 * len(labels))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    model.fit(rows[:train], labels[:train])
    return float(model.score(rows[train:], labels[train:]))
