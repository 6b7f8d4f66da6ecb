"""What tlcore relies on in an adapter, tried on a backbone that belongs to no modality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.contracts import Adapter, Backbone, Example, State, View
from tlcore.errors import UsageError
from tlcore.plugins.validation import planned
from tlcore.specs import AdapterSpec
from tlcore.testing.promises import conformance, require, smoke_options

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["TinyBackbone", "check_adapter"]


@conformance()
def check_adapter(spec: AdapterSpec, folder: Path) -> None:
    """Check an adapter on a small backbone without modality, for one output and for three."""
    import torch

    from tlcore.training.model import TrainableModel

    adapter: Adapter = spec.build(smoke_options(spec, folder))
    for outputs in (1, 3):
        backbone = TinyBackbone()
        plan = planned(adapter, backbone, outputs)
        again = planned(adapter, TinyBackbone(), outputs)
        require(again.head is not plan.head, "two plans share one head")
        require(again.freeze_line == plan.freeze_line, "two plans for one backbone draw different lines")
        state = backbone.prepare(backbone.samples())
        lower = list(backbone.stages.values())[: plan.freeze_line]
        model = TrainableModel(backbone, plan)
        model.begin_epoch(0)
        for stage in lower:
            state = stage.requires_grad_(False)(state)
        found = model(state)
        require(bool(torch.isfinite(found).all()), "the head gives values that are not finite")
        require(found.requires_grad, "nothing above the line is trained in the first epoch")
        found.sum().backward()
        idle = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        require(not idle, f"no gradient reaches {', '.join(idle)}")


class TinyBackbone(Backbone):
    """Small dense stages over vectors of numbers, for trying adapters."""

    def __init__(self, stages: int = 3, width: int = 4) -> None:
        from torch import nn

        class Dense(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.dense = nn.Linear(width, width)

            def forward(self, state: State) -> State:
                return {"hidden": self.dense(state["hidden"]).tanh()}

        self.stages: Mapping[str, nn.Module] = {f"layer{n + 1}": Dense() for n in range(stages)}
        self.feature_dim = width
        self.preparation: Mapping[str, Any] = {"width": width}
        self.lora_targets: Mapping[str, Sequence[str]] = dict.fromkeys(self.stages, ("dense",))

    def samples(self) -> list[Example]:
        """Return a few inputs that it can read."""
        return [Example(id=str(n), input=[math.sin(n + 2 * m) for m in range(self.feature_dim)]) for n in range(5)]

    def prepare(self, examples: Sequence[Example], view: View | None = None) -> State:
        """Return the numbers as ``hidden`` (N, width)."""
        import torch

        return {"hidden": torch.tensor([example.input for example in examples])}

    def pool(self, state: State) -> Tensor:
        """Return ``hidden``."""
        return state["hidden"]

    def mix(self, state: State, targets: Tensor, generator: Any) -> tuple[State, Tensor]:
        """Refuse: vectors are not blended here."""
        raise UsageError("the tiny backbone cannot mix examples")

    def save(self, folder: Path) -> None:
        """Keep nothing: there is nothing but parameters."""
