"""The built-in adapters: ways to draw the line, for any modality."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tlcore import AdapterSpec, hookimpl, option

if TYPE_CHECKING:
    from tlcore import Adapter

TLCORE_API = 1


@dataclass(frozen=True, kw_only=True)
class FeatureExtractionOptions:
    """Keys of ``adapter`` for ``feature-extraction``."""

    dropout: float = option(0.0, "Share of the features that the head drops while it trains.", ge=0, lt=1)


@dataclass(frozen=True, kw_only=True)
class FineTuningOptions:
    """Keys of ``adapter`` for ``fine-tuning``."""

    layers: int | str = option(1, "What is trained: so many stages from the top, all from a named stage up, or `all`.")
    decay: float = option(1.0, "Learning rate of each stage as a factor of the one above it.", gt=0, le=1)
    head_lr_scale: float = option(1.0, "Learning rate of the head as a factor of the recipe's.", gt=0)
    dropout: float = option(0.0, "Share of the features that the head drops while it trains.", ge=0, lt=1)
    unfreeze: Literal["together", "head-first", "gradual"] = option(
        "together",
        "`together`: all from the start; `head-first`: the head alone, then the rest too, which keeps more of what the "
        "network knows about unusual examples (Kumar et al., 2022); `gradual`: one stage more at a time, from the top.",
    )
    unfreeze_every: int = option(1, "Epochs that the head is alone, and from one stage to the next.", ge=1)


@dataclass(frozen=True, kw_only=True)
class LoRAOptions:
    """Keys of ``adapter`` for ``lora``."""

    rank: int = option(8, "Rank of the two matrices that stand for the change of a weight.", ge=1, le=512)
    alpha: float = option(16.0, "The change is scaled by alpha / rank.", gt=0)
    layers: int | str = option(
        "all", "Which stages get matrices: so many from the top, all from a named one up, or `all`."
    )
    lora_dropout: float = option(0.0, "Share of the inputs that the matrices drop while they train.", ge=0, lt=1)
    head_lr_scale: float = option(1.0, "Learning rate of the head as a factor of the recipe's.", gt=0)
    dropout: float = option(0.0, "Share of the features that the head drops while it trains.", ge=0, lt=1)


@hookimpl
def tl_adapters() -> Iterable[AdapterSpec]:
    """Offer feature extraction, fine-tuning and LoRA."""
    yield AdapterSpec(
        name="feature-extraction",
        summary="The whole network stays frozen; a linear head is trained on its features.",
        options=FeatureExtractionOptions,
        build=_feature_extraction,
        smoke=lambda folder: FeatureExtractionOptions(),
    )
    yield AdapterSpec(
        name="fine-tuning",
        summary="The top stages are trained together with a linear head; the rest stays frozen.",
        options=FineTuningOptions,
        build=_fine_tuning,
        smoke=lambda folder: FineTuningOptions(layers=1),
    )
    yield AdapterSpec(
        name="lora",
        summary="Low-rank matrices beside the frozen weights are trained with the head, and folded in at the end.",
        options=LoRAOptions,
        build=_lora,
        smoke=lambda folder: LoRAOptions(rank=2),
    )


def _feature_extraction(options: FeatureExtractionOptions) -> Adapter:
    from tl_adapters.lines import FeatureExtraction

    return FeatureExtraction(options)


def _fine_tuning(options: FineTuningOptions) -> Adapter:
    from tl_adapters.lines import FineTuning

    return FineTuning(options)


def _lora(options: LoRAOptions) -> Adapter:
    from tl_adapters.lora import LoRA

    return LoRA(options)
