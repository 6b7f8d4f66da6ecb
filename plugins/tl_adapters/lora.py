"""Low-rank adaptation through peft: the frozen weights stay, a product of two small matrices is added to each.

Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from tl_adapters.lines import line_below, linear_head
from tlcore import Adapter, Backbone, Injection, ParameterGroup, Plan, State, UsageError

if TYPE_CHECKING:
    from tl_adapters import LoRAOptions


class LoRA(Adapter):
    """The line is below the lowest stage that gets matrices."""

    def __init__(self, options: LoRAOptions) -> None:
        self.options = options

    def plan(self, backbone: Backbone, outputs: int) -> Plan:
        """Inject matrices into the stages that ``layers`` names and that have targets for them."""
        names = list(backbone.stages)
        chosen = names[line_below(self.options.layers, names) :]
        targets = {name: backbone.lora_targets.get(name, ()) for name in chosen}
        adapted = [name for name in chosen if targets[name]]
        if not adapted:
            raise UsageError(
                "adapter lora: this backbone names no modules that take low-rank matrices",
                where=f"stages looked at: {', '.join(chosen)}",
                hint="use the adapter fine-tuning or feature-extraction",
            )
        return Plan(
            freeze_line=names.index(adapted[0]),
            head=linear_head(backbone.feature_dim, outputs, self.options.dropout),
            parameter_groups=(ParameterGroup("head", self.options.head_lr_scale),),
            injections=tuple(
                Injection(name, functools.partial(LowRank, targets=targets[name], options=self.options))
                for name in names[names.index(adapted[0]) :]
            ),
        )


class LowRank(nn.Module):
    """A frozen stage with low-rank matrices beside its target modules; without targets it is frozen as a whole."""

    def __init__(self, stage: nn.Module, targets: Sequence[str], options: LoRAOptions) -> None:
        super().__init__()
        self.stage = stage.requires_grad_(False)
        if targets:
            self.stage = _injected(stage, targets, options)

    def forward(self, state: State) -> State:
        """Map the state as the stage does, with the change added."""
        changed: State = self.stage(state)
        return changed

    def merged(self) -> nn.Module:
        """Return the stage in its own form, with the change folded into its weights."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        stage = copy.deepcopy(self.stage)
        for name, module in list(stage.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge(safe_merge=True)
                parent, _, child = name.rpartition(".")
                setattr(stage.get_submodule(parent), child, module.get_base_layer())
        return stage


def _injected(stage: nn.Module, targets: Sequence[str], options: LoRAOptions) -> nn.Module:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UsageError("adapter lora needs the package peft", hint='install it: pip install "tlcore[lora]"') from None
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.lora_dropout,
        target_modules="|".join(re.escape(name) for name in targets),
    )
    injected: nn.Module = inject_adapter_in_model(config, stage)
    return injected
