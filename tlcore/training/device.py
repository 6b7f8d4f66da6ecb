"""One Accelerator for a run: device and precision, for feature extraction and for training alike."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tlcore.distributed.process_group import patience, require_all
from tlcore.errors import UsageError

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

__all__ = [
    "accelerator_for",
    "half_format",
    "keep_freed_memory",
    "precision_of",
    "require_device",
    "single_thread",
]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of mallopt's parameters (malloc.h)."""
MIXED = {"auto": "no", "fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def require_device(device: str, precision: str) -> bool:
    """Refuse a device that is absent and a precision that does not fit it; return whether it is the CPU.

    Raises:
        UsageError: either.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "train.device is cuda, but this machine has no CUDA device that torch can use",
            where=f"torch {torch.__version__}",
            hint="use `--set train.device=auto`, or install a torch build for your GPU and driver",
        )
    on_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    if precision == "fp16" and on_cpu:
        raise UsageError(
            "train.precision is fp16, which CPUs compute slowly and with overflows",
            hint="use `--set train.precision=bf16` or fp32",
        )
    return on_cpu


def accelerator_for(device: str, precision: str) -> Accelerator:
    """Return the Accelerator of a run for ``device`` (auto, cpu, cuda) and ``precision`` (auto, fp32, bf16, fp16).

    ``auto`` is fp32 here; ``half_format`` names the alternative.

    Raises:
        UsageError: the device is absent, the precision does not fit it, or fewer processes found each other than were
            started.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import InitProcessGroupKwargs

    on_cpu = require_device(device, precision)
    mixed = MIXED[precision]
    if on_cpu:
        keep_freed_memory()
    # Accelerate keeps device and precision for the whole process; a second run may want others.
    AcceleratorState._reset_state()
    PartialState._reset_state()
    group = InitProcessGroupKwargs(timeout=datetime.timedelta(seconds=patience()))
    accelerator = Accelerator(mixed_precision=mixed, cpu=on_cpu, kwargs_handlers=[group])
    require_all(accelerator.num_processes)
    return accelerator


def precision_of(accelerator: Accelerator) -> str:
    """Return fp32, bf16 or fp16."""
    return "fp32" if accelerator.mixed_precision == "no" else str(accelerator.mixed_precision)


def half_format(device: torch.device) -> str | None:
    """Return the half precision that a device computes fast: bf16, else fp16 on a GPU; None where there is none."""
    import torch

    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # Without instructions of its own bf16 is emulated, and slower than fp32.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bf16" if any(check() for check in checks if check is not None) else None


def keep_freed_memory() -> None:
    """Tell glibc to keep the memory of big activations instead of handing it back to the kernel after each layer.

    Getting it anew costs a third of a convolution network's time on a virtual machine. Elsewhere nothing is done.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_TOP_PAD, 64 * 2**20)


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Compute in one thread inside: for small matrices several cost more than they bring, most on a busy machine."""
    import torch

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
