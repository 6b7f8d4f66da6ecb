"""Pictures: image classification, and VGG16 from torchvision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlcore import BackboneSpec, Example, NoOptions, TaskSpec, hookimpl, option

if TYPE_CHECKING:
    from tlcore import Backbone, Task

TLCORE_API = 1


@dataclass(frozen=True, kw_only=True)
class VGGOptions:
    """Keys of ``backbone`` for ``vgg16``."""

    weights: Path | str = option(
        "imagenet-features",
        "`imagenet-features` (the original convolutions), `imagenet` (torchvision's IMAGENET1K_V1), `random`, "
        "or the path of a .safetensors or .pth file.",
    )
    output: str | None = option(None, "The last stage to use: block1 to block5, fc6, fc7; block5 unless given.")
    pool: Literal["mean", "max", "flatten"] = option("mean", "How the last map becomes one vector.")
    resize: int | None = option(
        None, "Shorter side before the centre is cropped, in pixels; what the weights say unless given.", ge=32, le=2048
    )
    size: int = option(224, "Height and width of the prepared picture, in pixels.", ge=32, le=1024)

    def __post_init__(self) -> None:
        if self.resize is not None and self.resize < self.size:
            raise ValueError(f"resize ({self.resize}) is smaller than size ({self.size})")


@hookimpl
def tl_tasks() -> Iterable[TaskSpec]:
    """Offer image classification."""
    yield TaskSpec(
        name="image-classification",
        summary="One label for each picture.",
        modality="image",
        build=_image_classification,
        smoke=lambda folder: NoOptions(),
    )


@hookimpl
def tl_backbones() -> Iterable[BackboneSpec]:
    """Offer VGG16."""
    yield BackboneSpec(
        name="vgg16",
        summary="VGG16: five blocks of convolutions, then two dense layers where the weights have them.",
        modality="image",
        options=VGGOptions,
        build=_vgg16,
        smoke=lambda folder: VGGOptions(weights="random", output="block2", size=32),
        samples=_pictures,
    )


def _image_classification(options: NoOptions) -> Task:
    from tl_vision.task import ImageClassification

    return ImageClassification()


def _vgg16(options: VGGOptions, saved: Path | None) -> Backbone:
    from tl_vision.vgg import VGG16

    return VGG16(options, saved)


def _pictures(folder: Path) -> Sequence[Example]:
    from PIL import Image

    found = []
    for n, (mode, suffix) in enumerate([("RGB", "png"), ("L", "png"), ("RGB", "jpg"), ("RGBA", "png")]):
        path = folder / f"{n}.{suffix}"
        colour = (40 * n, 200, 90, 128)[: len(mode)] if len(mode) > 1 else 40 * n
        Image.new(mode, (40 + n, 60), colour).save(path)
        found.append(Example(id=path.name, input=path))
    return found
