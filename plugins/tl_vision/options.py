"""Keys of ``backbone`` that say how pictures are prepared and augmented; imported before anything heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tlcore import option

__all__ = ["Augment", "PreparationOptions"]


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What happens at random to a training picture; ``augment: {}`` is crops and horizontal flips."""

    crop: float | None = option(
        0.35, "Smallest share of the picture in a random crop; null for the crop that prediction sees.", gt=0, le=1
    )
    flip: Literal["none", "horizontal", "vertical", "both"] = option("horizontal", "Which way it may be mirrored.")
    rotation: float = option(0.0, "Degrees by which it is turned at most, to either side.", ge=0, le=180)
    colour: float = option(0.0, "How far brightness, contrast, saturation and, a quarter as far, hue vary.", ge=0, le=1)
    randaugment: int = option(0, "So many operations of RandAugment (Cubuk et al., 2020).", ge=0, le=4)
    magnitude: int = option(9, "Strength of the operations of RandAugment.", ge=0, le=30)
    erasing: float = option(0.0, "Probability that a rectangle is erased (Zhong et al., 2020).", ge=0, le=1)
    mixup: float = option(
        0.0, "Alpha of mixup, for batches that are mixed (`train.mix`); 0 for none. 0.2 is usual.", ge=0, le=10
    )
    cutmix: float = option(
        0.0, "Alpha of cutmix, for batches that are mixed (`train.mix`); 0 for none. 1 is usual.", ge=0, le=10
    )


@dataclass(frozen=True, kw_only=True)
class PreparationOptions:
    """Keys of ``backbone`` that say how pictures are prepared."""

    resize: int | None = option(
        None, "Shorter side before the centre is cropped, in pixels; what the weights say unless given.", ge=32, le=2048
    )
    size: int = option(224, "Height and width of the prepared picture, in pixels.", ge=32, le=1024)
    normalise: Literal["weights", "zero-one", "dataset"] = option(
        "weights",
        "What is done to pixels: what the weights expect, only scaled to 0 to 1, or by mean and deviation of the "
        "training pictures.",
    )
    augment: Augment | None = option(None, "What happens at random to training pictures; nothing unless given.")

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) is smaller than size ({self.size})")
