"""How much a run will write into its folder, known before anything is computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.contracts import Backbone, Plan
from tlcore.errors import ResourceError
from tlcore.files.disk import free_bytes, readable_bytes, room
from tlcore.recipe import Recipe, TrainSection

if TYPE_CHECKING:
    from torch import nn

__all__ = ["RunSize", "run_size"]

SPARE = 1.2
"""So many times what is foretold must be free: other programs write too, and a run leaves tables and a report."""
BLOCK = 4096
"""Bytes that the smallest file takes."""
NAMED = 128
"""Bytes by which a file names a tensor."""


@dataclass(frozen=True)
class RunSize:
    """Bytes of the largest checkpoint and of the saved model, without what a backbone keeps beside its weights."""

    checkpoint: int
    model: int

    @property
    def together(self) -> int:
        """How much there is at once: the checkpoints that are kept, and the next one or the model beside them."""
        from tlcore.training.checkpoints import KEPT

        return KEPT * self.checkpoint + max(self.checkpoint, self.model)

    @property
    def needed(self) -> int:
        """How much must be free."""
        return int(SPARE * self.together)

    def require_room(self, folder: Path) -> str:
        """Refuse to begin on a disk that cannot take it; return what there is to tell.

        What checkpoints of an earlier process take is theirs already.

        Raises:
            ResourceError: less is free.
        """
        free = free_bytes(folder.absolute())
        taken = sum(path.stat().st_size for path in folder.glob("checkpoints/*/*"))
        parts = f"{readable_bytes(self.checkpoint)} for a checkpoint, {readable_bytes(self.model)} for the model"
        if free + taken < self.needed:
            raise ResourceError(
                f"the disk is too small for this run: {parts}, {readable_bytes(self.together)} at once",
                where=room(folder, self.needed - taken),
                hint="free some space, or begin anew with --out on a larger disk; fewer trained layers need less",
            )
        return f"disk: at most {parts}, {readable_bytes(self.together)} at once; {readable_bytes(free)} are free"


@dataclass(frozen=True)
class _Tensors:
    """Of a file: how many tensors it holds, and their bytes."""

    count: int
    size: int

    def on_disk(self) -> int:
        return -(-(self.size + NAMED * self.count) // BLOCK) * BLOCK if self.count else 0

    def times(self, share: float) -> _Tensors:
        return _Tensors(self.count, int(self.size * share))


def run_size(recipe: Recipe, backbone: Backbone, plan: Plan, processes: int = 1) -> RunSize:
    """Return how much a run of this recipe writes into its folder.

    What an adapter adds to a stage is not known yet; such a stage counts as one whose own weights stay.
    """
    stages = list(backbone.stages.items())
    changed = {injection.stage for injection in plan.injections}
    above = [stage for _, stage in stages[plan.freeze_line :]]
    standardised = _Tensors(2, 4 * (backbone.feature_dim + 1))
    upper = _joined([*map(_state, above), standardised, _state(plan.head)])
    model = _joined([*(_state(stage) for _, stage in stages), standardised, _state(plan.head)]).on_disk() + BLOCK
    if recipe.head.solver == "lbfgs":
        return RunSize(upper.on_disk() + BLOCK, model)
    trained = [stage for name, stage in stages[plan.freeze_line :] if name not in changed] + [plan.head]
    section = recipe.train
    files = [upper, _moments(section, trained)]
    if section.epochs > 1 or section.ema is not None:  # else the best weights are the last ones
        files.append(upper)
    if section.ema is not None:
        files.append(upper)
    if processes > 1:
        files.append(_statistics(above).times(processes))
    return RunSize(sum(file.on_disk() for file in files) + BLOCK, model)


def _joined(parts: Iterable[_Tensors]) -> _Tensors:
    found = list(parts)
    return _Tensors(sum(one.count for one in found), sum(one.size for one in found))


def _state(module: nn.Module) -> _Tensors:
    tensors = module.state_dict().values()
    return _Tensors(len(tensors), sum(tensor.nbytes for tensor in tensors))


def _statistics(modules: Sequence[nn.Module]) -> _Tensors:
    return _Tensors(1, sum(4 * b.numel() for module in modules for b in module.buffers() if b.is_floating_point()))


def _moments(section: TrainSection, modules: Sequence[nn.Module]) -> _Tensors:
    """Return what the optimizer keeps of the parameters of these modules, and its count of steps for each."""
    from tlcore.training.optimizers import moments_of

    copies = moments_of(section.optimizer.name, section.optimizer.options)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    size = sum(parameter.nbytes for parameter in parameters)
    return _Tensors((copies + 1) * len(parameters), copies * size)
