"""Random versions of pictures and of batches; what is drawn depends on nothing but the generator that is given."""

from __future__ import annotations

import math

import numpy
import torch
from torch import Generator, Tensor
from torchvision.transforms import v2

from tl_vision.options import Augment
from tlcore import State, UsageError

__all__ = ["Augmentation", "mixed"]

SHAPES = (3 / 4, 4 / 3)
HUE = 0.25
"""Hue varies by so much of what the other colours do: a green sky is rarer than a dark one."""


class Augmentation:
    """One random version of a picture (3, H, W), uint8, as (3, size, size); the global generator decides which."""

    def __init__(self, options: Augment, size: int) -> None:
        self._crop = (
            v2.RandomResizedCrop([size, size], scale=(options.crop, 1.0), ratio=SHAPES, antialias=True)
            if options.crop is not None
            else None
        )
        steps: list[v2.Transform] = []
        if options.flip in ("horizontal", "both"):
            steps.append(v2.RandomHorizontalFlip())
        if options.flip in ("vertical", "both"):
            steps.append(v2.RandomVerticalFlip())
        if options.rotation:
            steps.append(v2.RandomRotation(options.rotation, interpolation=v2.InterpolationMode.BILINEAR))
        if options.colour:
            strength = options.colour
            steps.append(v2.ColorJitter(strength, strength, strength, min(0.5, strength * HUE)))
        if options.randaugment:
            steps.append(v2.RandAugment(options.randaugment, options.magnitude))
        self._steps = steps
        self._erase = v2.RandomErasing(options.erasing) if options.erasing else None

    def crop(self, pixels: Tensor) -> Tensor | None:
        """Return a random crop of a whole picture; None where crops are the usual ones."""
        cropped: Tensor | None = self._crop(pixels) if self._crop is not None else None
        return cropped

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return a picture of the final size after everything that is done to its pixels."""
        for step in self._steps:
            pixels = step(pixels)
        return pixels

    def erase(self, normalised: Tensor) -> Tensor:
        """Return a normalised picture, perhaps with a rectangle of zeros: the mean of what the weights expect."""
        erased: Tensor = self._erase(normalised) if self._erase is not None else normalised
        return erased


def mixed(state: State, targets: Tensor, generator: Generator, options: Augment | None) -> tuple[State, Tensor]:
    """Return a batch in which each example is blended with another, and targets (N, outputs) by the same shares.

    Zhang et al., mixup, ICLR 2018, equation 1; Yun et al., CutMix, ICCV 2019, section 3.1.

    Raises:
        UsageError: neither is set, or cutmix of states that have no height and width.
    """
    kinds = [kind for kind in ("mixup", "cutmix") if options is not None and getattr(options, kind) > 0]
    if not kinds:
        raise UsageError(
            "train.mix blends the examples of a batch, but nothing says how",
            where="backbone.augment",
            hint="set backbone.augment.mixup (0.2 is usual) or backbone.augment.cutmix (1 is usual)",
        )
    kind = kinds[int(torch.randint(len(kinds), (), generator=generator))]
    other = torch.randperm(len(targets), generator=generator)
    share = _beta(getattr(options, kind), generator)
    if kind == "mixup":
        blended = {name: share * part + (1 - share) * part[other] for name, part in state.items()}
        return blended, share * targets + (1 - share) * targets[other]
    flat = next((name for name, part in state.items() if part.dim() != 4), None)
    if flat is not None:
        raise UsageError(
            "cutmix needs maps with height and width; above the last trained stage there are only vectors",
            where="backbone.augment.cutmix",
            hint="use backbone.augment.mixup, or train a convolution stage (adapter fine-tuning)",
        )
    height, width = next(iter(state.values())).shape[2:]
    top, bottom = _span(height, share, generator)
    left, right = _span(width, share, generator)
    cut = {name: part.clone() for name, part in state.items()}
    for name, part in state.items():
        cut[name][:, :, top:bottom, left:right] = part[other][:, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return cut, kept * targets + (1 - kept) * targets[other]


def _beta(alpha: float, generator: Generator) -> float:
    """Return a draw from Beta(alpha, alpha)."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return float(numpy.random.default_rng(seed).beta(alpha, alpha))


def _span(length: int, share: float, generator: Generator) -> tuple[int, int]:
    """Return where a cut of the given remaining share begins and ends; its centre may lie anywhere."""
    half = round(length * math.sqrt(1 - share)) // 2
    centre = int(torch.randint(length, (), generator=generator))
    return max(0, centre - half), min(length, centre + half)
