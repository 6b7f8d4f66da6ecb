"""The layout of a saved model: names of its files, and its tensors by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from tlcore.contracts import Backbone
    from tlcore.training.model import TrainableModel

__all__ = ["ABOUT", "BACKBONE", "FORMAT", "PLUGIN_PARTS", "SELF_TEST", "TENSORS", "modules_of"]

FORMAT = 4
TENSORS = "model.safetensors"
ABOUT = "artifact.json"
BACKBONE = "backbone"
SELF_TEST = "self_test"
PLUGIN_PARTS = ("task", "backbone", "adapter")
"""What a model is built from: each is something that a plugin offers, with its options."""


def modules_of(backbone: Backbone, model: TrainableModel) -> dict[str, nn.Module]:
    """Return every module that is saved, by part: the stages, the standardization, the head."""
    trained = model.parts()
    stages = {f"stages/{name}": trained.get(name, stage) for name, stage in backbone.stages.items()}
    return {**stages, "standardise": model.standardise, "head": model.head}
