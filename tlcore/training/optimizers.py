"""Optimizers by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tlcore.contracts import ParameterGroup
from tlcore.errors import PluginError, UsageError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

__all__ = ["moments_of", "optimizer_for"]


def optimizer_for(
    name: str, options: Any, parts: Mapping[str, nn.Module], groups: Sequence[ParameterGroup], lr: float
) -> Optimizer:
    """Return the optimizer ``name`` over the trained parameters of ``parts`` (stages by name, and ``head``).

    Each part is a parameter group that remembers its ``lr_scale``: its rate is so many times ``lr``.

    Raises:
        UsageError: a group for a part that is not trained.
        PluginError: nothing is trained at all.
    """
    from torch import optim

    settings = dataclasses.asdict(options) | {"lr": lr}
    if "beta1" in settings:
        settings["betas"] = (settings.pop("beta1"), settings.pop("beta2"))
    by_part = {group.part: group for group in groups}
    if unknown := sorted(set(by_part) - set(parts)):
        raise UsageError(f"the adapter groups the parameters of {unknown[0]!r}, which is not trained")
    grouped: list[dict[str, Any]] = []
    for part, module in parts.items():
        group = by_part.get(part, ParameterGroup(part))
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not parameters:
            continue
        entry = {"params": parameters, "lr": lr * group.lr_scale, "lr_scale": group.lr_scale, "part": part}
        if group.weight_decay is not None:
            entry["weight_decay"] = group.weight_decay
        grouped.append(entry)
    if not grouped:
        raise PluginError(
            "the adapter trains nothing: neither the head nor a stage above its line has a parameter to train",
            hint="use another adapter; `tl list adapters` names them",
        )
    kinds = {"sgd": optim.SGD, "rmsprop": optim.RMSprop, "adam": optim.Adam, "adamw": optim.AdamW}
    if name != "rmsprop":  # which has no such kernel
        settings["fused"] = all(p.is_floating_point() for group in grouped for p in group["params"])
    optimizer: Optimizer = kinds[name](grouped, **settings)
    return optimizer


def moments_of(name: str, options: Any) -> int:
    """Return how many tensors of its own size the optimizer ``name`` keeps of each parameter."""
    own = {"sgd": 0, "rmsprop": 1, "adam": 2, "adamw": 2}[name]
    return own + bool(getattr(options, "momentum", 0))
