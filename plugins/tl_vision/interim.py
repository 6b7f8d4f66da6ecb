"""Stands in until options.py and preparation.py are there; then deleted."""

from __future__ import annotations

from dataclasses import dataclass

from tlcore import UsageError, WeightsError, option


@dataclass(frozen=True, kw_only=True)
class PreparationOptions:
    resize: int | None = option(
        None, "Shorter side before the centre is cropped, in pixels; what the weights say unless given.", ge=32, le=2048
    )
    size: int = option(224, "Height and width of the prepared picture, in pixels.", ge=32, le=1024)

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) is smaller than size ({self.size})")


class PicturePreparation:
    def __init__(self, options, *, mean, std, margin):
        self.options, self.mean, self.std, self.margin = options, mean, std, margin
        self.about = {"size": options.size, "mean": list(mean), "std": list(std), "margin": margin}

    def prepare(self, examples, view):
        import torch
        from torchvision.transforms.v2 import functional

        from tl_vision.decoding import decoded

        if view is not None:
            raise UsageError("no augmentation yet")
        rows = []
        for example in examples:
            pixels = functional.pil_to_tensor(decoded(example.input))
            resize = self.options.resize or round(self.options.size * self.margin)
            pixels = functional.center_crop(
                functional.resize(pixels, [resize], antialias=True), [self.options.size, self.options.size]
            )
            scaled = functional.to_dtype(pixels, torch.float32, scale=True)
            rows.append(functional.normalize(scaled, list(self.mean), list(self.std)))
        return {"hidden": torch.stack(rows)}

    def mix(self, state, targets, generator):
        raise UsageError("cannot mix pictures yet")

    def fit(self, examples):
        pass

    def kept(self):
        return {"mean": self.mean, "std": self.std, "margin": self.margin}

    @classmethod
    def restored(cls, options, kept):
        try:
            return cls(options, mean=tuple(kept["mean"]), std=tuple(kept["std"]), margin=kept["margin"])
        except (KeyError, TypeError) as error:
            raise WeightsError(f"network.json is damaged: {error}") from error
