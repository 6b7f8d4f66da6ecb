"""What the rivals of pictures share: VGG16 as tlcore's recipe has it, and the pictures as tutorials read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_vision.original_vgg16 import MEAN, STD, original_convolutions

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BLOCK5", "pictures", "vgg16"]

BLOCK5 = 24
"""Where the last block begins in torchvision's ``features``."""
SIDE = 224


def vgg16(classes: int) -> nn.Sequential:
    """Return the original 13 convolutions, frozen, and a new last layer on the mean over their last map.

    Without the dense layers fc6 and fc7, for which the package has no weights; they would cost a rival more.
    """
    from torch import nn
    from torchvision import models

    features = models.vgg16().features
    features.load_state_dict({key.removeprefix("features."): value for key, value in original_convolutions().items()})
    for parameter in features.parameters():
        parameter.requires_grad = False
    top = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
    return nn.Sequential(features, top)


def pictures(folder: Path, split: str, *, augmented: bool) -> Any:
    """Return an ImageFolder with the transforms that tutorials teach, normalised as these weights expect it."""
    from torchvision import datasets, transforms

    chosen = (
        [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()]
        if augmented
        else [transforms.Resize(SIDE), transforms.CenterCrop(SIDE)]
    )
    steps = [*chosen, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return datasets.ImageFolder(str(folder / split), transforms.Compose(steps))
