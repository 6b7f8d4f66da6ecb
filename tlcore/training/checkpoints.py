"""The best state of the trained part so far: published whole, verified before it is read, matched by name."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.errors import WeightsError
from tlcore.publishing import publish_folder, verify_folder
from tlcore.weights import load_exactly, read_tensors

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Checkpoints"]

TENSORS = "model.safetensors"


class Checkpoints:
    """The checkpoints of one run; the newest is kept, and an older one goes only after a newer one is whole."""

    def __init__(self, folder: Path, *, writes: bool = True) -> None:
        self.folder = folder
        self._writes = writes
        self._newest: Path | None = None

    def save(self, module: nn.Module, position: Mapping[str, Any]) -> None:
        """Publish the module's state with its position (epoch, step, seed)."""
        from safetensors.torch import save_file

        target = self.folder / f"epoch-{position['epoch']:05d}"
        if not self._writes:  # another process of the run does, and comes to the same decisions
            self._newest = target
            return
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
        publish_folder(
            target,
            lambda folder: save_file(tensors, folder / TENSORS, metadata={"step": str(position["step"])}),
            about={"position": dict(position)},
        )
        if self._newest is not None:
            shutil.rmtree(self._newest)
        self._newest = target

    def load(self, module: nn.Module) -> Mapping[str, Any]:
        """Load the newest state into the module and return its position.

        Raises:
            WeightsError: there is none, or it was damaged.
        """
        if self._newest is None:
            raise WeightsError("no checkpoint was written", where=str(self.folder))
        manifest = verify_folder(self._newest)
        load_exactly(module, read_tensors(self._newest / TENSORS), source=str(self._newest))
        position: Mapping[str, Any] = manifest["position"]
        return position

    def clear(self) -> None:
        """Remove all checkpoints of a finished run."""
        if self._writes:
            shutil.rmtree(self.folder, ignore_errors=True)
