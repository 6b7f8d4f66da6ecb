"""The networks by name: what each is called, how large it is, and where its published weights lie.

Standard library only, so a list of networks or of files to fetch costs no import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["ARCHITECTURES", "Architecture", "WeightFile", "weight_files"]

SERVER = "https://download.pytorch.org/models/"


class WeightFile(NamedTuple):
    """A published file, and the first hexadecimal digits of its SHA-256."""

    url: str
    digest_prefix: str


@dataclass(frozen=True)
class Architecture:
    """One row of the table: torchvision's name, what people call it, and what belongs to it."""

    name: str
    title: str
    family: str
    output: str
    """The stage that is the last one unless the recipe names another."""
    parameters: float
    """Millions, up to that stage."""
    width: int
    """Values that the mean over the last map leaves."""
    files: Mapping[str, WeightFile]
    """By the name that stands for them in a recipe."""


def _published(name: str, digest: str) -> WeightFile:
    # The first eight digits of the digest stand in the file's name.
    return WeightFile(f"{SERVER}{name}-{digest[:8]}.pth", digest)


def _vgg(depth: int, parameters: float, digest: str, *, normed: bool = False) -> Architecture:
    name, title = (f"vgg{depth}_bn", f"VGG{depth} with batch norms") if normed else (f"vgg{depth}", f"VGG{depth}")
    return Architecture(name, title, "vgg", "block5", parameters, 512, {"imagenet": _published(name, digest)})


def _resnet(depth: int, parameters: float, width: int, first: str, second: str | None = None) -> Architecture:
    name = f"resnet{depth}"
    files = {"imagenet": _published(name, first)}
    if second is not None:
        files["imagenet-v2"] = _published(name, second)
    return Architecture(name, f"ResNet-{depth}", "resnet", "layer4", parameters, width, files)


ARCHITECTURES: Mapping[str, Architecture] = {
    row.name: row
    for row in (
        _vgg(11, 9.2, "8a719046"),
        _vgg(13, 9.4, "19584684"),
        _vgg(16, 14.7, "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
        _vgg(19, 20.0, "dcbb9e9d"),
        _vgg(11, 9.2, "6002323d", normed=True),
        _vgg(13, 9.4, "abd245e5", normed=True),
        _vgg(16, 14.7, "6c64b313", normed=True),
        _vgg(19, 20.0, "c79401a0", normed=True),
        _resnet(18, 11.2, 512, "f37072fd"),
        _resnet(34, 21.3, 512, "b627a593"),
        _resnet(50, 23.5, 2048, "0676ba61", "11ad3fa6"),
        _resnet(101, 42.5, 2048, "63fe2227", "cd907fc2"),
        _resnet(152, 58.1, 2048, "394f9c45", "f82ba261"),
    )
}


def weight_files(name: str) -> Mapping[str, WeightFile]:
    """Return the published files of a network by the names that stand for them in a recipe.

    Raises:
        KeyError: no network of this name.
    """
    return ARCHITECTURES[name].files
