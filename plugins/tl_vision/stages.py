"""torchvision's own networks, cut into stages without a copy of their code.

A stage keeps torchvision's names (``features.5.weight``, ``layer2.0.conv1.weight``), so a checkpoint needs no renaming.

Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015; He et al., Deep
Residual Learning for Image Recognition, CVPR 2016.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import nn
from torchvision import models

from tl_vision.architectures import ARCHITECTURES
from tlcore import State

__all__ = ["CLASSIFIERS", "Stage", "drawn", "expected_tensors", "stages_of"]

CLASSIFIERS = {"vgg": ("classifier.6.weight", "classifier.6.bias"), "resnet": ("fc.weight", "fc.bias")}
"""The last layer of each family, which has as many outputs as somebody's classes and belongs to no stage."""


class Stage(nn.Sequential):
    """Named modules of the network one after the other; state to state."""

    def forward(self, state: State) -> State:
        """Map hidden (N, C, H, W), or (N, C) above the first dense layer."""
        hidden = state["hidden"]
        for module in self:
            hidden = module(hidden)
        return {"hidden": hidden}


def stages_of(name: str) -> dict[str, Stage]:
    """Return the stages of a network in order, with shapes and no memory: all tensors are on the meta device."""
    with torch.device("meta"):
        network = models.get_model(name, weights=None)
    return _of_vgg(network) if ARCHITECTURES[name].family == "vgg" else _of_resnet(network)


@functools.cache
def expected_tensors(name: str) -> Mapping[str, tuple[str, tuple[int, ...]]]:
    """Return the stage and the shape of each tensor of a network, but for its last layer."""
    return {
        key: (stage_name, tuple(tensor.shape))
        for stage_name, stage in stages_of(name).items()
        for key, tensor in stage.state_dict().items()
    }


def drawn(stage: Stage) -> Stage:
    """Return a stage with random weights, drawn from torch's global generator as torchvision draws them."""
    stage = stage.to_empty(device="cpu")
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return stage


def _of_vgg(network: models.VGG) -> dict[str, Stage]:
    """Cut after each maximum: five blocks; then the dense layers, each with its ReLU and what stands before it."""
    ends = [n + 1 for n, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)]
    stages = {
        f"block{number}": _stage(features=network.features[start:end])
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), start=1)
    }
    stages["fc6"] = _stage(avgpool=network.avgpool, flatten=nn.Flatten(), classifier=network.classifier[:2])
    stages["fc7"] = _stage(classifier=network.classifier[2:5])
    return stages


def _of_resnet(network: models.ResNet) -> dict[str, Stage]:
    stem = _stage(conv1=network.conv1, bn1=network.bn1, relu=network.relu, maxpool=network.maxpool)
    layers = ("layer1", "layer2", "layer3", "layer4")
    return {"stem": stem} | {name: _stage(**{name: getattr(network, name)}) for name in layers}


def _stage(**modules: nn.Module) -> Stage:
    stage = Stage()
    for name, module in modules.items():
        stage.add_module(name, module)
    return stage
