"""One Accelerator for a run: device and precision for the first pass and for training alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tlcore.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["accelerator_for", "resolved_precision"]

MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def accelerator_for(device: str, precision: str) -> Accelerator:
    """Return the Accelerator of a run for ``device`` (auto, cpu, cuda) and ``precision`` (auto, fp32, bf16, fp16).

    Raises:
        UsageError: the device is absent, the precision does not fit it, or several processes were started.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "train.device is cuda, but this machine has no CUDA device that torch can use",
            where=f"torch {torch.__version__}",
            hint="use `--set train.device=auto`, or install a torch build for your GPU and driver",
        )
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    mixed = MIXED[resolved_precision(precision, on_cpu=on_cpu)]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            f"{os.environ['WORLD_SIZE']} processes were started; this version trains in one",
            hint="start `tl run` without a launcher",
        )
    # Accelerate keeps device and precision for the whole process; a second run may want others.
    AcceleratorState._reset_state()
    PartialState._reset_state()
    return Accelerator(mixed_precision=mixed, cpu=on_cpu)


def resolved_precision(precision: str, *, on_cpu: bool) -> str:
    """Return fp32, bf16 or fp16: ``auto`` is fp32 on a processor and bf16 (else fp16) on a GPU.

    Raises:
        UsageError: fp16 on a processor, where it is slow and overflows.
    """
    import torch

    if precision == "auto":
        if on_cpu:
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if precision == "fp16" and on_cpu:
        raise UsageError(
            "train.precision is fp16, which processors compute slowly and with overflows",
            hint="use `--set train.precision=bf16` or fp32",
        )
    return precision
