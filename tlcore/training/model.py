"""The trainable part of a network: the stages after the freeze point, pooling, the feature scaler, the head."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcore.contracts import HEAD, Backbone, Injection, MergesInjection, Plan, State
from tlcore.errors import PluginError
from tlcore.features.extractor import FEATURES, channels_last
from tlcore.features.freeze_point import first_trained_at
from tlcore.features.readers import STANDARDISED
from tlcore.plugins.validation import pooled

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FeatureScaler", "TrainableModel"]


class FeatureScaler(nn.Module):
    """Subtracts the mean of the training split and divides by its standard deviation; both are buffers.

    Without it the usual Adam settings are far from what logistic regression reaches on the same features. There is one
    standard deviation for all features: with one for each, features that hardly vary count as much as those that
    separate the classes, and images in a style that training never saw lose 3 points of macro F1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(()))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set both from the features of the training split, which come in batches (N, features).

        Constant features are not scaled. Means and squares are merged as in Chan, Golub and LeVeque (1979), so that
        only sums are kept in memory.
        """
        count, mean, squares = 0, torch.zeros(()), torch.zeros(())
        for batch in batches:
            values = batch.to(torch.float64, copy=True)  # and changed in place: batches are large
            batch_mean = values.mean(dim=0)
            total = count + len(values)
            delta = batch_mean - mean
            spread = delta.square() * (count * len(values) / total)
            squares = squares + values.sub_(batch_mean).square_().sum(dim=0) + spread
            mean = mean + delta * (len(values) / total)
            count = total
        deviation = (squares / count).mean().sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return the standardized features, in fp32."""
        return (features.float() - self.mean) / self.deviation


def _injected(injection: Injection, stage: nn.Module) -> nn.Module:
    injected: object = injection.apply(stage)
    if not isinstance(injected, nn.Module):
        raise PluginError(
            f"the adapter replaced {injection.stage!r} by a {type(injected).__name__}, which is not a module"
        )
    return injected


class TrainableModel(nn.Module):
    """Everything after the freeze point, from states to outputs.

    ``merged`` names the stages whose injection is already merged into their own weights, as in a saved model.

    Raises:
        PluginError: the adapter's plan does not fit the backbone.
    """

    def __init__(self, backbone: Backbone, plan: Plan, merged: Collection[str] = ()) -> None:
        super().__init__()
        names = list(backbone.stages)
        if not 0 <= plan.freeze_line <= len(names):
            raise PluginError(f"the adapter's freeze point is {plan.freeze_line}, outside of 0 to {len(names)}")
        self.freeze_line = plan.freeze_line
        self.stage_names = names[self.freeze_line :]
        stages = {name: backbone.stages[name].requires_grad_(True) for name in self.stage_names}
        for injection in plan.injections:
            if injection.stage not in stages:
                raise PluginError(f"the adapter changes {injection.stage!r}, which is not after its freeze point")
            if injection.stage not in merged:
                stages[injection.stage] = _injected(injection, stages[injection.stage])
        self.stages = nn.ModuleList(stages.values())
        self.standardise = FeatureScaler(backbone.feature_dim)  # this name is part of the file formats
        self.head = plan.head
        self.backbone = backbone
        self.plan = plan
        self._channels_last = False
        self.set_entry(self.freeze_line)
        self._requires_grad = {name: parameter.requires_grad for name, parameter in self.named_parameters()}

    def parts(self) -> dict[str, nn.Module]:
        """Return what is trained by name: the stages after the freeze point, and the head."""
        return {**dict(zip(self.stage_names, self.stages, strict=True)), HEAD: self.head}

    def set_entry(self, index: int) -> None:
        """Take states in front of this stage from now on: the trainable stages before it are skipped."""
        self.active_stages = self.stage_names[index - self.freeze_line :]
        """The stages that a state goes through here; empty where states are pooled features."""

    def use_channels_last(self) -> None:
        """Keep feature maps and weights with the channels last, as convolutions in half precision want them."""
        self.to(memory_format=torch.channels_last)
        self._channels_last = True

    def features(self, state: State) -> Tensor:
        """Return the pooled features (N, feature_dim)."""
        if FEATURES in state and not self.active_stages:
            return state[FEATURES]
        if self._channels_last:
            state = channels_last(state)
        for stage in self.stages[len(self.stages) - len(self.active_stages) :]:
            state = stage(state)
        return pooled(self.backbone, state)

    def forward(self, state: State) -> Tensor:
        """Return the head's outputs (N, outputs); the head computes in fp32 whatever the precision of the stages."""
        features = state[STANDARDISED] if STANDARDISED in state else self.features(state)
        with torch.autocast(features.device.type, enabled=False):
            outputs: Tensor = self.head(features if STANDARDISED in state else self.standardise(features))
        return outputs

    def begin_epoch(self, epoch: int) -> None:
        """Switch to training mode; stages that the schedule unfreezes later stay frozen and in evaluation mode."""
        self.train()
        frozen = first_trained_at(self.plan, epoch) - self.freeze_line
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(self._requires_grad[name])
        for stage in self.stages[:frozen]:
            stage.eval().requires_grad_(False)
        for module in self.modules():
            # The running statistics would drift away from frozen weights of the same layer.
            if isinstance(module, _BatchNorm) and module.weight is not None and not module.weight.requires_grad:
                module.eval()

    def merge(self) -> list[str]:
        """Merge every injection that allows it into its stage's own weights; return the names of these stages."""
        names = []
        for index, stage in enumerate(self.stages):
            if isinstance(stage, MergesInjection):
                self.stages[index] = stage.merged()
                names.append(self.stage_names[index])
        return names
