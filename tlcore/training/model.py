"""The trained part of a model: stages above the line, pool, standardised features, head."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcore.contracts import HEAD, Backbone, Injection, Plan, State
from tlcore.errors import PluginError
from tlcore.features.extractor import FEATURES, channels_last
from tlcore.features.freeze_point import first_trained_at
from tlcore.features.readers import STANDARDISED, StateReader
from tlcore.plugins.validation import pooled

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Standardise", "Upper"]


class Standardise(nn.Module):
    """Shifts features by the training split's mean and scales them by its deviation, kept in buffers.

    Without it the usual Adam settings are far from what logistic regression reaches on the same features. There is one
    deviation for all features: with one for each, features that hardly vary count as much as those that tell classes
    apart, and drawings in a style that training never saw lose 3 points of macro F1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(()))

    def fit(self, parts: Iterable[Tensor]) -> None:
        """Set both from the training split's features, which come in parts (…, features).

        Where nothing varies, nothing is scaled. Means and squares of the parts are joined as in Chan, Golub and
        LeVeque (1979), so that nothing is held but sums.
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for part in parts:
            values = part.to(torch.float64, copy=True)  # and changed in place: parts are large
            own = values.mean(dim=0)
            total = count + len(values)
            away = own - mean
            squares = squares + values.sub_(own).square_().sum(dim=0) + away.square() * (count * len(values) / total)
            mean = mean + away * (len(values) / total)
            count = total
        deviation = (squares / count).mean().sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return the standardised features, in fp32."""
        return (features.float() - self.mean) / self.deviation


def _changed(injection: Injection, stage: nn.Module) -> nn.Module:
    changed: object = injection.apply(stage)
    if not isinstance(changed, nn.Module):
        raise PluginError(f"the adapter made a {type(changed).__name__} of {injection.stage!r}, and no module")
    return changed


class Upper(nn.Module):
    """Everything above the line, from states to outputs.

    ``merged`` names stages whose injection is already folded into their own weights, as in a saved model.

    Raises:
        PluginError: the adapter's plan does not fit the backbone.
    """

    def __init__(self, backbone: Backbone, plan: Plan, merged: Collection[str] = ()) -> None:
        super().__init__()
        names = list(backbone.stages)
        if not 0 <= plan.freeze_line <= len(names):
            raise PluginError(f"the adapter drew its line at {plan.freeze_line}, outside of 0 to {len(names)}")
        self.line = plan.freeze_line
        self.names = names[self.line :]
        stages = {name: backbone.stages[name].requires_grad_(True) for name in self.names}
        for injection in plan.injections:
            if injection.stage not in stages:
                raise PluginError(f"the adapter changes {injection.stage!r}, which is no stage above its line")
            if injection.stage not in merged:
                stages[injection.stage] = _changed(injection, stages[injection.stage])
        self.stages = nn.ModuleList(stages.values())
        self.standardise = Standardise(backbone.feature_dim)
        self.head = plan.head
        self.backbone = backbone
        self._channels_last = False
        self._plan = plan
        self._entry = self.line
        self._flags = {name: parameter.requires_grad for name, parameter in self.named_parameters()}

    def parts(self) -> dict[str, nn.Module]:
        """Return what is trained by name: the stages above the line, and the head."""
        return {**dict(zip(self.names, self.stages, strict=True)), HEAD: self.head}

    def enter_at(self, line: int) -> None:
        """Take states at this line from now on: those of the stages between the plan's line and it went through."""
        self._entry = line

    @property
    def passed(self) -> list[str]:
        """The stages that a state goes through here; none where it is pooled features already."""
        return self.names[self._entry - self.line :]

    def lay_out_for_half_precision(self) -> None:
        """Keep maps and weights as convolutions in half precision want them: with the channels last."""
        self.to(memory_format=torch.channels_last)
        self._channels_last = True

    def features(self, state: State) -> Tensor:
        """Return the pooled features (N, feature_dim)."""
        if FEATURES in state and not self.passed:
            return state[FEATURES]
        if self._channels_last:
            state = channels_last(state)
        for stage in self.stages[self._entry - self.line :]:
            state = stage(state)
        return pooled(self.backbone, state)

    def mix(self, state: State, targets: Tensor, generator: torch.Generator) -> tuple[State, Tensor]:
        """Blend the examples of a batch as the backbone does."""
        return self.backbone.mix(state, targets, generator)

    def forward(self, state: State) -> Tensor:
        """Return the head's outputs (N, outputs); the head computes in fp32 whatever the precision below it."""
        seen = state[STANDARDISED] if STANDARDISED in state else self.features(state)
        with torch.autocast(seen.device.type, enabled=False):
            outputs: Tensor = self.head(seen if STANDARDISED in state else self.standardise(seen))
        return outputs

    def enter_epoch(self, epoch: int) -> None:
        """Switch to training mode; stages that the schedule holds back until a later epoch stay as they are."""
        self.train()
        held = first_trained_at(self._plan, epoch) - self.line
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self._flags[name])
        for stage in self.stages[:held]:
            stage.eval().requires_grad_(False)
        for module in self.modules():
            # Statistics of a normalisation whose own parameters are frozen would drift away from them.
            if isinstance(module, _BatchNorm) and module.weight is not None and not module.weight.requires_grad:
                module.eval()

    def merge(self) -> list[str]:
        """Fold every injection that can be into its stage's own weights; return the names of these stages."""
        names = []
        for place, stage in enumerate(self.stages):
            if callable(fold := getattr(stage, "merged", None)):
                self.stages[place] = fold()
                names.append(self.names[place])
        return names

    @torch.no_grad()
    def pooled(self, reader: StateReader, ids: Sequence[str], device: torch.device) -> Tensor:
        """Return the features (N, feature_dim) of a batch as they are now, fp32 on the CPU."""
        self.eval()
        state = {name: tensor.to(device) for name, tensor in reader.batch(ids).items()}
        return self.features(state).float().cpu()
