"""Read weights without running code from them, and load every tensor by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tlcore.errors import WeightsError
from tlcore.files.tensors import read_safetensors, read_torch_archive
from tlcore.weights.sources import OWN_FILE, record_use

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["load_exactly", "read_tensors", "require_fit"]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file without running code from it.

    Raises:
        WeightsError: no such file, another format, a damaged file, or one that needs unpickling of objects.
    """
    try:
        if not path.is_file():
            raise WeightsError(f"no weights file at {path}")
        record_use(path, OWN_FILE)
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        if path.suffix in (".pt", ".pth", ".bin"):
            return read_torch_archive(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path.name}: {error.strerror or error}", where=str(path)) from error
    raise WeightsError(f"refused: {path.name} is no .safetensors, .pt, .pth or .bin file", where=str(path))


def load_exactly(
    module: nn.Module, tensors: Mapping[str, Tensor], *, source: str, ignored: Mapping[str, str] | None = None
) -> None:
    """Copy tensors into a module, each accounted for by name, shape and finiteness; nothing may be left over.

    ``ignored`` names tensors of the file that the module has no place for, with the reason. Values keep the module's
    own type (a fp16 file becomes fp32).

    Raises:
        WeightsError: a table of what is missing, left over, of another shape or not finite.
    """
    require_fit(module.state_dict(), tensors, source=source, ignored=ignored)
    module.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in (ignored or {})})


def require_fit(
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    ignored: Mapping[str, str] | None = None,
) -> None:
    """Refuse tensors that are not exactly those that a network needs; ``own`` may be on the meta device.

    Raises:
        WeightsError: as ``load_exactly`` does.
    """
    given = {name: tensor for name, tensor in tensors.items() if name not in (ignored or {})}
    faults = [f"missing: {name} {list(own[name].shape)}" for name in own if name not in given]
    faults += [f"left over: {name} {list(given[name].shape)}" for name in given if name not in own]
    faults += [fault for name in own.keys() & given.keys() if (fault := _fault(name, given[name], own[name]))]
    if faults:
        shown = sorted(faults)[:20] + ([f"… and {len(faults) - 20} more"] if len(faults) > 20 else [])
        raise WeightsError(
            f"the weights do not fit the network: {len(faults)} of {len(own.keys() | given.keys())} tensors",
            where=f"{source}\n  " + "\n  ".join(shown),
            hint="check that the file belongs to this network",
        )


def _fault(name: str, given: Tensor, own: Tensor) -> str | None:
    import torch

    if own.shape != given.shape:
        return f"another shape: {name} is {list(given.shape)}, needed {list(own.shape)}"
    if given.is_floating_point() != own.is_floating_point():
        return f"another type: {name} is {given.dtype}, needed {own.dtype}"
    if given.is_floating_point() and not bool(torch.isfinite(given.to(own.dtype)).all()):
        return f"not finite: {name}"
    return None
