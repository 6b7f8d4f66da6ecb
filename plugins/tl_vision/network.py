"""Any network of the table as a backbone: pictures in, one vector for each out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from tl_vision.architectures import ARCHITECTURES
from tl_vision.preparation import PicturePreparation
from tl_vision.pretrained import KEPT, Pretrained, found, kept_by
from tl_vision.stages import Stage, drawn, stages_of
from tlcore import Backbone, Example, State, UsageError, View, nearest
from tlcore.support import load_exactly

if TYPE_CHECKING:
    from tl_vision import NetworkOptions

__all__ = ["PictureNetwork"]


class PictureNetwork(Backbone):
    """A network of ``ARCHITECTURES`` up to the stage that the options name."""

    libraries = ("torchvision", "simplejpeg", "pillow", "numpy")
    """Whose versions decide what the pixels and the stages give."""

    def __init__(self, name: str, options: NetworkOptions, saved: Path | None) -> None:
        self._name = name
        self._pool = options.pool
        if saved is None:
            source = found(name, options.weights)
            self._output = _output(name, options, source.stages)
            self._pictures = _preparation(options, source)
        else:
            kept = kept_by(saved, name)
            self._output = kept["output"]
            self._pictures = PicturePreparation.restored(options, kept["preparation"])
        shapes = _up_to(self._output, stages_of(name))
        self.feature_dim = self._width(shapes, options.size)
        if saved is not None:  # tlcore loads every tensor
            self.stages = {stage_name: stage.to_empty(device="cpu") for stage_name, stage in shapes.items()}
        elif source.tensors is None:
            self.stages = {stage_name: drawn(stage) for stage_name, stage in shapes.items()}
        else:
            self.stages = {
                stage_name: _loaded(stage, source.tensors, f"{source.place}, {stage_name}")
                for stage_name, stage in shapes.items()
            }
        self.lora_targets = {
            stage_name: [key for key, module in stage.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
            for stage_name, stage in self.stages.items()
        }
        self.preparation = self._prepared_how()

    def prepare(self, examples: Sequence[Example], view: View | None = None) -> State:
        """Return the pictures as the first stage expects them: hidden (N, 3, size, size), fp32."""
        return self._pictures.prepare(examples, view)

    def pool(self, state: State) -> Tensor:
        """Return (N, feature_dim) from the last map, or the vectors of a dense stage as they are."""
        hidden = state["hidden"]
        if hidden.dim() == 2:
            return hidden
        if self._pool == "flatten":
            return hidden.flatten(1)
        return hidden.mean(dim=(2, 3)) if self._pool == "mean" else hidden.amax(dim=(2, 3))

    def mix(self, state: State, targets: Tensor, generator: Generator) -> tuple[State, Tensor]:
        """Blend the pictures of a batch, and their targets by the same shares."""
        return self._pictures.mix(state, targets, generator)

    def fit(self, examples: Sequence[Example]) -> None:
        """Measure on the training examples what the preparation asks for."""
        self._pictures.fit(examples)
        self.preparation = self._prepared_how()

    def save(self, folder: Path) -> None:
        """Write which network this is, how far it goes and how it expects a picture."""
        kept = {"network": self._name, "output": self._output, "preparation": self._pictures.kept()}
        (folder / KEPT).write_text(json.dumps(kept), "utf-8")

    def _prepared_how(self) -> dict[str, Any]:
        return {**self._pictures.about, "pool": self._pool}

    def _width(self, stages: Mapping[str, Stage], size: int) -> int:
        """Return the width of the pooled vectors for pictures of a size, from shapes alone."""
        state = {"hidden": torch.empty(1, 3, size, size, device="meta")}
        for stage in stages.values():
            state = stage.eval()(state)
            stage.train()
        return self.pool(state).shape[1]


def _output(name: str, options: NetworkOptions, names: Sequence[str]) -> str:
    """Return the last stage to use: the recipe's, else the network's usual one, as far as the weights have it."""
    usual = ARCHITECTURES[name].output
    output = options.output or (usual if usual in names else names[-1])
    if output not in names:
        every = list(stages_of(name))
        meant = nearest(output, every)
        absent = output in every
        raise UsageError(
            f"backbone.output: {f'these weights have no {output}' if absent else f'{name} has no stage {output!r}'}",
            where=f"stages: {', '.join(names)}",
            hint=f"did you mean {meant!r}?" if meant and not absent else "choose one of these stages",
        )
    if options.pool == "max" and output in ("fc6", "fc7"):
        raise UsageError(
            f"backbone.pool: {output} gives a vector, of which there is no maximum to take",
            hint="leave pool out, or choose one of the blocks as output",
        )
    return output


def _preparation(options: NetworkOptions, source: Pretrained) -> PicturePreparation:
    if source.kept is None:
        return PicturePreparation(options, **source.expects)
    PicturePreparation.restored(options, source.kept)  # it refuses what is damaged
    # The weights of a run expect the pictures that the run showed them, whatever the weights before them expected.
    shown = source.kept["scale"]
    mean, std = (tuple(map(float, shown[key])) for key in ("mean", "std"))
    return PicturePreparation(options, mean=mean, std=std, margin=float(source.kept["margin"]))


def _up_to(output: str, stages: Mapping[str, Stage]) -> dict[str, Stage]:
    names = list(stages)
    return {name: stages[name] for name in names[: names.index(output) + 1]}


def _loaded(stage: Stage, tensors: Mapping[str, Tensor], source: str) -> Stage:
    stage = stage.to_empty(device="cpu")
    load_exactly(stage, {key: tensors[key] for key in stage.state_dict() if key in tensors}, source=source)
    return stage
