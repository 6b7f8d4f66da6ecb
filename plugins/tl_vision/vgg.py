"""VGG16 as stages: the five blocks of convolutions, then fc6 and fc7 where the weights have them.

Simonyan and Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015, configuration D.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn
from torchvision.transforms.v2 import functional

from tl_vision.decoding import FORMATS, PIXEL_LIMIT, decoded
from tl_vision.vgg_weights import Source, found
from tlcore import Backbone, Example, State, UsageError, View, WeightsError, nearest
from tlcore.weights import load_exactly

if TYPE_CHECKING:
    from tl_vision import VGGOptions

BLOCKS = {
    "block1": (3, 64, 2),
    "block2": (64, 128, 2),
    "block3": (128, 256, 3),
    "block4": (256, 512, 3),
    "block5": (512, 512, 3),
}
"""Input channels, output channels and convolutions of each block."""
DENSE = {"fc6": (512 * 7 * 7, 4096), "fc7": (4096, 4096)}
DEFAULT_OUTPUT = "block5"
KEPT = "vgg.json"
LONGEST_RATIO = 8
"""A longer strip is cut to its middle before it is resized: one of 1 x 30,000 pixels would otherwise take 6 GB."""


class Block(nn.Sequential):
    """Convolutions with ReLU, then halved by the maximum; state to state."""

    def __init__(self, inputs: int, outputs: int, convolutions: int) -> None:
        layers: list[nn.Module] = []
        for n in range(convolutions):
            layers += [nn.Conv2d(inputs if n == 0 else outputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.MaxPool2d(2))

    def forward(self, state: State) -> State:
        """Map hidden (N, inputs, H, W) to (N, outputs, H/2, W/2)."""
        return {"hidden": super().forward(state["hidden"])}


class Dense(nn.Module):
    """One dense layer with ReLU; fc6 flattens the map first, fc7 drops half of its inputs while it is trained."""

    def __init__(self, name: str) -> None:
        super().__init__()
        flatten = [nn.AdaptiveAvgPool2d((7, 7)), nn.Flatten()] if name == "fc6" else [nn.Dropout(0.5)]
        self.before = nn.Sequential(*flatten)
        self.linear = nn.Linear(*DENSE[name])

    def forward(self, state: State) -> State:
        """Map hidden (N, 512, H, W) or (N, 4096) to (N, 4096)."""
        return {"hidden": torch.relu(self.linear(self.before(state["hidden"])))}


class VGG16(Backbone):
    """Pictures in, one vector for each out."""

    def __init__(self, options: VGGOptions, saved: Path | None) -> None:
        source = found(options.weights) if saved is None else _kept(saved)
        names = [*BLOCKS, *(DENSE if source.dense else ())]
        output = options.output or DEFAULT_OUTPUT
        if output not in names:
            meant = nearest(output, names)
            absent = output in DENSE
            raise UsageError(
                f"backbone.output: {f'these weights have no {output}' if absent else f'there is no stage {output!r}'}",
                where=f"stages: {', '.join(names)}",
                hint=f"did you mean {meant!r}?" if meant and not absent else "choose one of these stages",
            )
        if output in DENSE and options.pool == "max":
            raise UsageError(
                f"backbone.pool: {output} gives a vector, of which there is no maximum to take",
                hint="leave pool out, or choose one of the blocks as output",
            )
        used = names[: names.index(output) + 1]
        self.stages = {name: _stage(name, initialised=source.tensors is None and saved is None) for name in used}
        if source.tensors is not None:
            for name, stage in self.stages.items():
                load_exactly(stage, _of_stage(name, source.tensors), source=f"{source.place}, {name}")
        self._source = source
        self._pool = options.pool
        self._size = options.size
        self._resize = options.resize or round(options.size * source.margin)
        channels = DENSE[output][1] if output in DENSE else BLOCKS[output][1]
        side = options.size // 2 ** len(used)
        self.feature_dim = channels * side * side if options.pool == "flatten" and output in BLOCKS else channels
        self.lora_targets = {
            name: [key for key, module in stage.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
            for name, stage in self.stages.items()
        }
        self.preparation = {
            "size": options.size,
            "resize": self._resize,
            "longest_ratio": LONGEST_RATIO,
            "interpolation": "bilinear, antialiased",
            "channels": "RGB",
            "mean": list(source.mean),
            "std": list(source.std),
            "decoder": "pillow",
            "formats": list(FORMATS),
            "pixel_limit": PIXEL_LIMIT,
            "pool": options.pool,
        }

    def prepare(self, examples: Sequence[Example], view: View | None = None) -> State:
        """Decode, resize the shorter side, crop the centre, normalise: hidden (N, 3, size, size), fp32."""
        if view is not None:
            raise UsageError("vgg16 has no augmentation yet")
        return {"hidden": torch.stack([self._prepared(example.input) for example in examples])}

    def pool(self, state: State) -> Tensor:
        """Return (N, feature_dim) from the last map, or the vectors of a dense stage as they are."""
        hidden = state["hidden"]
        if hidden.dim() == 2:
            return hidden
        if self._pool == "flatten":
            return hidden.flatten(1)
        return hidden.mean(dim=(2, 3)) if self._pool == "mean" else hidden.amax(dim=(2, 3))

    def mix(self, state: State, targets: Tensor, generator: Generator) -> tuple[State, Tensor]:
        """Refuse: pictures are not blended yet."""
        raise UsageError("vgg16 cannot mix pictures yet")

    def save(self, folder: Path) -> None:
        """Write which stages the weights had and how they expect a picture."""
        kept = {
            "dense": self._source.dense,
            "mean": self._source.mean,
            "std": self._source.std,
            "margin": self._source.margin,
        }
        (folder / KEPT).write_text(json.dumps(kept), "utf-8")

    def _prepared(self, source: Any) -> Tensor:
        pixels = functional.pil_to_tensor(decoded(source))
        height, width = pixels.shape[1:]
        limit = LONGEST_RATIO * min(height, width)
        pixels = functional.center_crop(pixels, [min(height, limit), min(width, limit)])
        pixels = functional.resize(pixels, [self._resize], antialias=True)
        pixels = functional.center_crop(pixels, [self._size, self._size])
        scaled = functional.to_dtype(pixels, torch.float32, scale=True)
        return functional.normalize(scaled, list(self._source.mean), list(self._source.std))


def _stage(name: str, *, initialised: bool) -> nn.Module:
    """Return a stage; with random weights as torchvision draws them, or with memory that is filled later."""
    with torch.device("cpu" if initialised else "meta"):
        stage: nn.Module = Dense(name) if name in DENSE else Block(*BLOCKS[name])
    if not initialised:
        return stage.to_empty(device="cpu")
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return stage


def _of_stage(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a stage's tensors from torchvision's names (``features.0.weight``, ``classifier.3.bias``)."""
    if name in DENSE:
        place = {"fc6": "classifier.0", "fc7": "classifier.3"}[name]
        own = {f"linear.{kind}": f"{place}.{kind}" for kind in ("weight", "bias")}
    else:
        first = sum(2 * BLOCKS[block][2] + 1 for block in list(BLOCKS)[: list(BLOCKS).index(name)])
        own = {
            f"{2 * n}.{kind}": f"features.{first + 2 * n}.{kind}"
            for n in range(BLOCKS[name][2])
            for kind in ("weight", "bias")
        }
    return {key: tensors[source] for key, source in own.items() if source in tensors}


def _kept(folder: Path) -> Source:
    """Return what ``save`` wrote, distrusted: a model may come from anyone."""
    path = folder / KEPT
    try:
        kept = json.loads(path.read_text("utf-8"))
        mean, std = (tuple(map(float, kept[key])) for key in ("mean", "std"))
        dense, margin = bool(kept["dense"]), float(kept["margin"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{KEPT} is damaged: {type(error).__name__}: {error}", where=str(path)) from error
    sound = len(mean) == len(std) == 3 and all(map(math.isfinite, mean)) and all(0 < value < 10 for value in std)
    if not sound or not 1 <= margin <= 2:
        raise WeightsError(f"{KEPT} prepares pictures as no VGG16 expects them", where=str(path))
    return Source(None, str(folder), dense, mean, std, margin)
