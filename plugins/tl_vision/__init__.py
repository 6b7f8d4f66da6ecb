"""Pictures: image classification, and VGG and ResNet from torchvision."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tl_vision.architectures import ARCHITECTURES
from tl_vision.options import PreparationOptions
from tlcore import BackboneSpec, Example, TaskSpec, hookimpl, option, standard_tasks

if TYPE_CHECKING:
    from tl_vision.architectures import Architecture
    from tlcore import Backbone

TLCORE_API = 1
PREVIEW_SIDE = 160
RECOMMENDED = "vgg16"
OTHERS = "resnet50 is smaller and faster, its weights come from the network"
OWN_WEIGHTS = "`random`, the path of a .safetensors or .pth file, or the folder of a finished run."


@dataclass(frozen=True, kw_only=True)
class _NetworkKeys:
    weights: Path | str = option("imagenet", f"`imagenet` (torchvision's IMAGENET1K_V1), {OWN_WEIGHTS}")
    output: str | None = option(None, "The last stage to use; the last one before the dense layers unless given.")
    pool: Literal["mean", "max", "flatten"] = option("mean", "How the last map becomes one vector.")


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(PreparationOptions, _NetworkKeys):
    """Keys of ``backbone`` that every network has."""


@dataclass(frozen=True, kw_only=True)
class VGGOptions(NetworkOptions):
    """Keys of ``backbone`` for the VGG networks."""

    output: str | None = option(
        None, "The last stage to use: block1 to block5, or fc6 or fc7 where the weights have them; block5 unless given."
    )


@dataclass(frozen=True, kw_only=True)
class VGG16Options(VGGOptions):
    """Keys of ``backbone`` for ``vgg16``, whose original convolutions come in a package."""

    weights: Path | str = option(
        "imagenet-features",
        "`imagenet-features` (the original convolutions, out of a package of tlcore[demo]), `imagenet` (torchvision's "
        f"IMAGENET1K_V1), {OWN_WEIGHTS}",
    )


@dataclass(frozen=True, kw_only=True)
class ResNetOptions(NetworkOptions):
    """Keys of ``backbone`` for ``resnet18`` and ``resnet34``."""

    output: str | None = option(None, "The last stage to use: stem, layer1 to layer4; layer4 unless given.")


@dataclass(frozen=True, kw_only=True)
class DeepResNetOptions(ResNetOptions):
    """Keys of ``backbone`` for the ResNets that were published twice."""

    weights: Path | str = option(
        "imagenet",
        f"`imagenet` and `imagenet-v2` (torchvision's IMAGENET1K_V1 and IMAGENET1K_V2), {OWN_WEIGHTS}",
    )


@hookimpl
def tl_tasks() -> Iterable[TaskSpec]:
    """Offer classification, several labels, and numbers."""
    return standard_tasks("image", "picture", _preview)


@hookimpl
def tl_backbones() -> Iterable[BackboneSpec]:
    """Offer the networks of the table."""
    return [_offered(row) for row in ARCHITECTURES.values()]


def _offered(row: Architecture) -> BackboneSpec:
    options: type[NetworkOptions] = VGG16Options if row.name == "vgg16" else VGGOptions
    if row.family == "resnet":
        options = DeepResNetOptions if "imagenet-v2" in row.files else ResNetOptions
    return BackboneSpec(
        name=row.name,
        summary=f"{row.title}: {row.parameters} M parameters up to {row.output}, {row.width} features; 224 pixels.",
        modality="image",
        options=options,
        build=partial(_network, row.name),
        smoke=lambda folder: options(weights="random", output="block2" if row.family == "vgg" else "layer1", size=32),
        samples=_pictures,
        media="image",
        recommended=OTHERS if row.name == RECOMMENDED else "",
    )


def _preview(source: Any) -> bytes:
    """Return a PNG of the picture as the network sees it, its longest side at most 160 pixels."""
    from tl_vision.decoding import decoded

    picture = decoded(source)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def _network(name: str, options: NetworkOptions, saved: Path | None) -> Backbone:
    from tl_vision.network import PictureNetwork

    return PictureNetwork(name, options, saved)


def _pictures(folder: Path) -> Sequence[Example]:
    import numpy
    from PIL import Image

    # Fine stripes, larger than what networks see, and other ones in each channel: what a saved model tests itself with.
    rows, columns = numpy.mgrid[0:300, 0:360]
    striped = numpy.stack([255 * ((rows // 3 + n * columns // 5) % 2) // (n + 1) for n in range(3)], axis=-1)
    path = folder / "striped.png"
    Image.fromarray(striped.astype(numpy.uint8)).save(path)
    found = [Example(id=path.name, input=path)]
    for n, (mode, suffix) in enumerate([("L", "png"), ("RGB", "png"), ("RGB", "jpg"), ("RGBA", "png")]):
        path = folder / f"{n}.{suffix}"
        colour = (40 * n, 200, 90, 128)[: len(mode)] if len(mode) > 1 else 40 * n
        Image.new(mode, (40 + n, 60), colour).save(path)
        found.append(Example(id=path.name, input=path))
    return found
