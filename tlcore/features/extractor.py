"""Feature extraction: prepared rows go through the frozen stages, in batches of fixed shapes."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from tlcore.contracts import Backbone, Example, State
from tlcore.errors import NumericError, PluginError
from tlcore.features.batching import MASK, Buckets, ragged_names, unstacked
from tlcore.features.keys import FeatureRequest
from tlcore.features.preparation import REORDERED, FeatureRow, is_close
from tlcore.features.threads import ThreadChoice
from tlcore.plugins.validation import pooled

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["FEATURES", "FeatureExtractor", "FrozenStages", "channels_last"]

FEATURES = "features"
"""The one tensor of a state after the last stage: what ``pool`` returned."""
REORDERED_ROUGHLY = 1e-2
"""As ``REORDERED``, in half precision and on a GPU."""


class FeatureExtractor:
    """The stages from ``first`` to the freeze point, on their device and in the precision of the run.

    In half precision what flows from stage to stage has it too, so that states at a freeze point are the same whether
    they are computed from the input or from the states at a lower one. Pooled features are few, and stay in fp32.
    """

    def __init__(
        self, backbone: Backbone, freeze_at: int, accelerator: Accelerator, *, first: int = 0, verify: bool = False
    ) -> None:
        """With ``verify``, the first batch shows that a row depends on nothing but its own input."""
        self.unverified = verify
        self.backbone = backbone
        self.accelerator = accelerator
        self._half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(accelerator.mixed_precision)
        stages = FrozenStages(backbone, first, freeze_at, self._half)
        if self._half is not None:
            stages.stages = _half_copy(stages.stages, self._half)
        self._stages = accelerator.prepare_model(stages, evaluation_mode=True).eval()

    def states(self, rows: Iterable[FeatureRow]) -> Iterator[FeatureRow]:
        """Yield, in another order, the states that follow from rows: prepared examples, or states before ``first``.

        Raises:
            NumericError: a state is not finite.
            PluginError: the stages give other rows for the same input, or not one for each.
        """
        on_gpu = self.accelerator.device.type != "cpu"
        threads = ThreadChoice(1 if on_gpu else torch.get_num_threads())
        for requests, state in _batches(rows, on_gpu=on_gpu):
            shapes = tuple(tensor.shape for tensor in state.values())
            with contextlib.nullcontext() if on_gpu else threads.batch(shapes, _positions(state)):
                computed = self._forward(state)
            if self.unverified:
                self._verify(state)
            _require_row_count(computed, shapes[0][0])
            ragged = ragged_names(computed)
            finite = all(map(_is_finite, computed.values()))
            for request, row in zip(requests, unstacked(computed), strict=False):  # rows that fill up have no request
                if not finite:
                    _require_finite(request.name, row)
                yield FeatureRow(request, row, ragged)

    def batch(self, examples: Sequence[Example]) -> State:
        """Return the states of a few examples as one batch, whatever its shape.

        Raises:
            UnreadableError: one of them cannot be read.
        """
        return self._forward(self.backbone.prepare(examples, None))

    def _forward(self, state: State) -> State:
        from accelerate.utils import send_to_device

        if self._half is not None:
            state = channels_last(state)
        self._stages.eval()  # other owners of the stages may have switched them to training
        # Not inference mode: the result may be an input of training, and such tensors cannot be.
        with torch.no_grad():
            computed: State = self._stages(send_to_device(state, self.accelerator.device))
        if not isinstance(computed, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in computed.values()):
            raise PluginError(
                "the last frozen stage gave no dict of tensors",
                where=f"stages: {', '.join(self.backbone.stages)}",
                hint="that is a fault of the backbone: a stage takes a state and returns one",
            )
        if self._half is not None and FEATURES not in computed:  # Accelerate has converted it to fp32
            computed = _cast(computed, self._half)
        return {name: tensor.cpu().contiguous() for name, tensor in computed.items()}

    def _verify(self, state: State) -> None:
        """Compute a row twice: beside itself, and beside a row of zeros.

        Raises:
            PluginError: the values differ, so a cached one would be drawn at random, or depend on the other rows.
        """
        self.unverified = False
        beside_itself = {name: torch.cat([tensor[:1], tensor[:1]]) for name, tensor in state.items()}
        beside_zeros = {name: torch.cat([tensor[:1], torch.zeros_like(tensor[:1])]) for name, tensor in state.items()}
        if MASK in state:
            beside_zeros[MASK][1] = 1
        versions = _versions(self._stages)
        first, second = self._forward(beside_itself), self._forward(beside_zeros)
        if _versions(self._stages) != versions:
            raise PluginError(
                "the frozen stages change weights or buffers of theirs when they are asked",
                hint="that is a fault of the backbone: in eval mode a stage must not keep anything",
            )
        exact = self.accelerator.device.type == "cpu" and self._half is None
        share = REORDERED if exact else REORDERED_ROUGHLY
        if name := next((name for name in first if not is_close(first[name][:1], second[name][:1], share)), None):
            raise PluginError(
                f"the frozen stages give other values when they are asked again ({name}): they draw at random, keep a "
                "state, or make a row depend on the others",
                hint="that is a fault of the backbone: in eval mode a row must depend on nothing but its own input",
            )


class FrozenStages(nn.Module):
    """The stages from ``first`` to the freeze point as one module, state to state; after the last stage, pooling too.

    With ``half``, each stage's state is cast to it.
    """

    def __init__(self, backbone: Backbone, first: int, freeze_at: int, half: torch.dtype | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(list(backbone.stages.values())[first:freeze_at]).requires_grad_(False)
        self._half = half
        # Not the backbone itself: where that is a module too, it would become a part of this one.
        self._pool = functools.partial(pooled, backbone) if freeze_at == len(backbone.stages) else None

    def forward(self, state: State) -> State:
        """Return the state at the freeze point."""
        for stage in self.stages:
            state = stage(state)
            state = state if self._half is None else _cast(state, self._half)
        if self._pool is None:
            return state
        return {FEATURES: self._pool(state if self._half is None else _cast(state, torch.float32)).float()}


def _half_copy(stages: nn.ModuleList, half: torch.dtype) -> nn.ModuleList:
    """Return a copy whose weights are as autocast would cast them for every batch, and laid out for convolutions."""
    stages = copy.deepcopy(stages)
    for module in stages.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module.to(half)
    return stages.to(memory_format=torch.channels_last)


def channels_last(state: State) -> State:
    """Return the state with its maps (N, C, H, W) laid out as convolutions in half precision want them."""
    return {
        name: tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
        for name, tensor in state.items()
    }


def _cast(state: State, dtype: torch.dtype) -> State:
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _versions(module: nn.Module) -> list[tuple[int, int]]:
    """Return what changes when a weight or buffer is exchanged, or changed in place."""
    return [(id(tensor), tensor._version) for tensor in (*module.parameters(), *module.buffers())]


def _batches(rows: Iterable[FeatureRow], *, on_gpu: bool) -> Iterator[tuple[list[FeatureRequest], State]]:
    buckets: Buckets[FeatureRequest] | None = None
    for request, row, ragged in rows:
        buckets = buckets or Buckets(ragged, on_gpu=on_gpu)
        yield from buckets.add(request, row)
    if buckets is not None:
        yield from buckets.rest()


def _positions(state: State) -> int:
    return state[MASK].numel() if MASK in state else len(next(iter(state.values())))


def _require_row_count(state: State, count: int) -> None:
    if odd := next((name for name, tensor in state.items() if len(tensor) != count), None):
        raise PluginError(
            f"the frozen stages gave {len(state[odd])} rows of {odd} for {count} that they took",
            hint="that is a fault of the backbone: a stage must return as many rows as it got",
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _require_finite(id_: str, row: State) -> None:
    if name := next((name for name, tensor in row.items() if not _is_finite(tensor)), None):
        raise NumericError(
            f"the frozen network gave a value that is not finite ({name})",
            where=f"example {id_}",
            hint="try `--set train.precision=fp32`, and look at this example",
        )
