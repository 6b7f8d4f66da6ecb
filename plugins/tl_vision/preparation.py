"""From a raw picture to what a network's first stage expects, and to augmented versions of it."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional

from tl_vision.augmentation import Augmentation, mixed
from tl_vision.decoding import DECODER, FORMATS, PIXEL_LIMIT, pixels_of
from tl_vision.options import PreparationOptions
from tlcore import Example, RecipeWarning, State, UnreadableError, UsageError, View, WeightsError
from tlcore.support import seeded

__all__ = ["PicturePreparation"]

LONGEST_RATIO = 8
"""A longer strip is cut to its middle before it is resized: one of 1 x 30,000 pixels would otherwise take 6 GB."""
MEASURED = 2000
"""So many training pictures, chosen by a hash of the id, are enough for a mean and a deviation of their pixels."""


class PicturePreparation:
    """Decode, resize, crop the centre, normalise; for a view, what ``augment`` says at random in between."""

    def __init__(
        self, options: PreparationOptions, *, mean: Sequence[float], std: Sequence[float], margin: float
    ) -> None:
        self._options = options
        self._size = options.size
        self._resize = options.resize or round(options.size * margin)
        self._expects = {"mean": list(mean), "std": list(std), "margin": margin}
        self._scale: tuple[list[float], list[float]] | None = (list(mean), list(std))
        if options.normalise != "weights":
            self._scale = ([0.0] * 3, [1.0] * 3) if options.normalise == "zero-one" else None
            warnings.warn(
                f"backbone.normalise is {options.normalise}, but the weights were trained on pictures with the mean "
                f"{_shown(mean)} and the deviation {_shown(std)}; they mostly do worse on others",
                RecipeWarning,
                stacklevel=2,
            )
        self._augmentation = Augmentation(options.augment, options.size) if options.augment is not None else None

    @property
    def about(self) -> dict[str, Any]:
        """All that decides a prepared value: JSON-able."""
        mean, std = self._scale or (None, None)
        augment = self._options.augment
        return {
            "size": self._size,
            "resize": self._resize,
            "longest_ratio": LONGEST_RATIO,
            "interpolation": "bilinear, antialiased",
            "channels": "RGB",
            "mean": mean,
            "std": std,
            "decoder": DECODER,
            "formats": list(FORMATS),
            "pixel_limit": PIXEL_LIMIT,
            "augment": None if augment is None else dict(vars(augment)),
        }

    def prepare(self, examples: Sequence[Example], view: View | None) -> State:
        """Return hidden (N, 3, size, size), fp32; a row depends on its own example, and on the view.

        Raises:
            UnreadableError: one of them is no picture that can be read.
            UsageError: a view where nothing says how pictures are augmented, or before ``fit`` where it is needed.
        """
        if view is None:
            return {"hidden": self._normalised(torch.stack([self._cropped(example) for example in examples]))}
        return {"hidden": torch.stack([self._augmented(example, view) for example in examples])}

    def mix(self, state: State, targets: Tensor, generator: Generator) -> tuple[State, Tensor]:
        """Blend the examples of a batch as ``augment`` says, and their targets (N, outputs) by the same shares."""
        return mixed(state, targets, generator, self._options.augment)

    def fit(self, examples: Sequence[Example]) -> None:
        """Measure mean and deviation of the pixels where ``normalise`` is ``dataset``: of at most 2,000 pictures.

        Raises:
            UsageError: none of them can be read, or all are of one colour.
        """
        if self._options.normalise != "dataset":
            return
        chosen = sorted(examples, key=lambda example: hashlib.sha256(example.id.encode()).digest())[:MEASURED]
        total, squares, pixels = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
        for example in chosen:
            try:
                picture = self._cropped(example).double() / 255
            except UnreadableError:
                continue  # the first pass lists it with the reason
            total += picture.sum(dim=(1, 2))
            squares += picture.square().sum(dim=(1, 2))
            pixels += picture.shape[1] * picture.shape[2]
        if not pixels:
            raise UsageError("none of the training pictures can be read", hint="see what `data` names")
        mean = total / pixels
        deviation = (squares / pixels - mean.square()).clamp_min(0).sqrt()
        if bool((deviation < 1e-4).any()):
            raise UsageError(
                "backbone.normalise is dataset, but the training pictures hardly vary in one of the colours",
                hint="use `backbone.normalise: weights`",
            )
        self._scale = (mean.tolist(), deviation.tolist())

    def kept(self) -> dict[str, Any]:
        """Return what a saved model needs to prepare pictures in the same way: JSON-able."""
        mean, std = self._scale or (None, None)
        return {**self._expects, "scale": {"mean": mean, "std": std}}

    @classmethod
    def restored(cls, options: PreparationOptions, kept: Mapping[str, Any]) -> PicturePreparation:
        """Return the preparation that was kept, distrusted: a model may come from anyone.

        Raises:
            WeightsError: it is damaged, or no network expects such pictures.
        """
        try:
            mean, std = _triple(kept["mean"]), _triple(kept["std"])
            scale = _triple(kept["scale"]["mean"]), _triple(kept["scale"]["std"])
            margin = float(kept["margin"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise WeightsError(f"the kept preparation is damaged: {type(error).__name__}: {error}") from error
        sound = all(0 < value < 10 for value in (*std, *scale[1]))
        if not sound or not 1 <= margin <= 2:
            raise WeightsError("the kept preparation is damaged: no network expects such pictures")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RecipeWarning)  # it was said when the model was trained
            found = cls(options, mean=mean, std=std, margin=margin)
        if options.normalise == "dataset":
            found._scale = (list(scale[0]), list(scale[1]))
        return found

    def _augmented(self, example: Example, view: View) -> Tensor:
        if self._augmentation is None:
            raise UsageError("nothing says how pictures are augmented", hint="give backbone.augment, such as `{}`")
        # Torchvision's operations read torch's global generator, so they are given one for this view of this example.
        with seeded(view.seed, "augment", view.number, example.id):
            pixels = _of_tolerable_shape(pixels_of(example.input))
            cropped = self._augmentation.crop(pixels)
            augmented = self._augmentation(self._centre(pixels) if cropped is None else cropped)
            return self._augmentation.erase(self._normalised(augmented))

    def _cropped(self, example: Example) -> Tensor:
        """Return the picture as it is seen without chance: (3, size, size), uint8."""
        return self._centre(_of_tolerable_shape(pixels_of(example.input)))

    def _centre(self, pixels: Tensor) -> Tensor:
        resized = functional.resize(pixels, [self._resize], antialias=True)
        return functional.center_crop(resized, [self._size, self._size])

    def _normalised(self, pixels: Tensor) -> Tensor:
        if self._scale is None:
            raise UsageError("backbone.normalise is dataset, and nothing was measured yet", hint="fit comes first")
        scaled = functional.to_dtype(pixels, torch.float32, scale=True)
        return functional.normalize(scaled, *self._scale, inplace=True)


def _of_tolerable_shape(pixels: Tensor) -> Tensor:
    height, width = pixels.shape[1:]
    limit = LONGEST_RATIO * min(height, width)
    return functional.center_crop(pixels, [min(height, limit), min(width, limit)])


def _triple(values: Any) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    if not all(map(math.isfinite, (first, second, third))):
        raise ValueError("a value that is not finite")
    return first, second, third


def _shown(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3g}" for value in values)
