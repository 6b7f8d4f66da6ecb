"""Where each adapter draws the line, and the head it puts on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from tlcore import Adapter, Backbone, ParameterGroup, Phase, Plan, UsageError, nearest

if TYPE_CHECKING:
    from tl_adapters import FeatureExtractionOptions, FineTuningOptions


class FeatureExtraction(Adapter):
    """The line is above the last stage: only the head is trained."""

    def __init__(self, options: FeatureExtractionOptions) -> None:
        self.options = options

    def plan(self, backbone: Backbone, outputs: int) -> Plan:
        """Freeze every stage."""
        head = linear_head(backbone.feature_dim, outputs, self.options.dropout)
        return Plan(freeze_line=len(backbone.stages), head=head)


class FineTuning(Adapter):
    """The line is below the stages that ``layers`` names."""

    def __init__(self, options: FineTuningOptions) -> None:
        self.options = options

    def plan(self, backbone: Backbone, outputs: int) -> Plan:
        """Train the stages from the line up; each one below the top learns slower by the factor ``decay``.

        Layer-wise decay: Howard and Ruder, Universal Language Model Fine-tuning, ACL 2018, section 3.2.
        """
        names = list(backbone.stages)
        line = line_below(self.options.layers, names)
        top = len(names) - 1
        groups = [ParameterGroup(name, self.options.decay ** (top - n)) for n, name in enumerate(names) if n >= line]
        head = linear_head(backbone.feature_dim, outputs, self.options.dropout)
        return Plan(
            freeze_line=line,
            head=head,
            parameter_groups=(*groups, ParameterGroup("head", self.options.head_lr_scale)),
            schedule=self._schedule(line, len(names)),
        )

    def _schedule(self, line: int, stages: int) -> tuple[Phase, ...]:
        """Return when what is trained: gradually as in Howard and Ruder, section 3.3, or the head before the rest."""
        every = self.options.unfreeze_every
        if self.options.unfreeze == "head-first":
            return Phase(0, stages), Phase(every, line)
        if self.options.unfreeze == "gradual":
            return tuple(Phase(every * (stages - first), first) for first in range(stages, line - 1, -1))
        return ()


def line_below(layers: int | str, names: Sequence[str]) -> int:
    """Return the index of the lowest stage that ``layers`` means: so many from the top, a name, or ``all``.

    Raises:
        UsageError: there is no such stage.
    """
    stages = f"stages of this backbone: {', '.join(names)}"
    if layers == "all":
        return 0
    if isinstance(layers, str):
        if layers in names:
            return names.index(layers)
        meant = nearest(layers, names)
        raise UsageError(
            f"adapter.layers: there is no stage {layers!r}",
            where=stages,
            hint=f"did you mean {meant!r}?" if meant else "give a number of stages from the top, a name, or all",
        )
    if not 1 <= layers <= len(names):
        raise UsageError(
            f"adapter.layers: {layers} is not between 1 and {len(names)}",
            where=stages,
            hint="for no trained stage, use the adapter feature-extraction",
        )
    return len(names) - layers


def linear_head(features: int, outputs: int, dropout: float) -> nn.Module:
    """Return a linear layer that starts at zero, so the first predictions are uniform and no seed decides them."""
    linear = nn.Linear(features, outputs)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear
