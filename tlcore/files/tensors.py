"""The bytes of tensor files: what is written, and what of a stranger's file is read.

Files are untrusted: a safetensors header has limits, an archive of torch is read with ``weights_only=True``; nothing
falls back to anything that could run code.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tlcore.errors import WeightsError
from tlcore.files.untrusted import once

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["read_safetensors", "read_torch_archive", "require_few_tensors", "write_tensors"]

HEADER_LIMIT = 16 * 2**20
"""Bytes of JSON that a safetensors header may hold: a header of a million empty tensors costs 13 s and 0.8 GB."""
MOST_TENSORS = 100_000
"""The largest networks there are have some thousands."""
LONGEST_NAME = 1000
MOST_DIMENSIONS = 32
MOST_STEPS = 1_000_000
"""Of the description of objects in a file of torch; a tensor takes about 20."""
OLD_FORMAT = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
"""How torch's files begin that are no archives."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, each contiguous and on the CPU, to a safetensors file.

    Raises:
        OSError: the disk is full or fails; the library's own error tells only by its text.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata=dict(metadata) if metadata is not None else None)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        WeightsError: it is damaged, or holds what no network has.
    """
    import safetensors
    import safetensors.torch

    header = require_few_tensors(path)
    for name, entry in header.items():
        _require_name(name, path)
        shape = entry.get("shape") if isinstance(entry, dict) else None
        if name != "__metadata__" and isinstance(shape, list) and len(shape) > MOST_DIMENSIONS:
            raise WeightsError(
                f"refused: tensor {name!r} of {path.name} has {len(shape):,} dimensions", where=str(path)
            )
        if name != "__metadata__" and isinstance(shape, list) and 0 in shape:
            raise WeightsError(f"refused: tensor {name!r} is empty", where=str(path))
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, ValueError) as error:
        raise WeightsError(f"refused: {path.name} is damaged: {str(error)[:200]}", where=str(path)) from error


def require_few_tensors(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file, which the library reads without limits.

    Raises:
        WeightsError: it is none, or lists more tensors than any network has.
    """
    header = _safetensors_header(path)
    if len(header) > MOST_TENSORS:
        raise WeightsError(f"refused: {path.name} holds {len(header):,} tensors", where=str(path))
    return header


def _safetensors_header(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(HEADER_LIMIT, path.stat().st_size):
            raise WeightsError(
                f"refused: the header of {path.name} claims {length:,} bytes: it is damaged, or no safetensors file",
                where=f"{path}: {path.stat().st_size:,} bytes in all",
                hint="fetch or copy the file again",
            )
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200]
        raise WeightsError(f"refused: the header of {path.name} is damaged: {reason}", where=str(path)) from error
    if not isinstance(header, dict):
        raise WeightsError(f"refused: the header of {path.name} is damaged", where=str(path))
    return header


def _require_name(name: str, path: Path) -> None:
    """Refuse what no network calls its tensors, since others make files or attributes of such names."""
    if (
        not 0 < len(name) <= LONGEST_NAME
        or not name.isprintable()
        or "\\" in name
        or name.startswith("/")
        or ".." in name.split("/")
    ):
        raise WeightsError(f"refused: {path.name} names a tensor {name[:60]!r}", where=str(path))


def read_torch_archive(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file of torch without unpickling anything else.

    Raises:
        WeightsError: it is damaged, or holds more than tensors.
    """
    import torch

    try:
        if zipfile.is_zipfile(path):
            _require_plain_members(path)
        else:
            _require_old_format(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (WeightsError, OSError, MemoryError):
        raise
    except Exception as error:  # damaged archives fail in many ways, and each is a refusal
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if type(error).__name__ == "UnpicklingError":  # torch's own words advise to run the file
            reason = "reading it would mean running what is in it"
        raise WeightsError(
            f"refused: {path.name} is damaged or holds more than tensors: {reason}",
            where=str(path),
            hint="convert it to safetensors on a machine that you trust it with",
        ) from error
    tensors = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in tensors.items()
    ):
        raise WeightsError(f"refused: {path.name} is no table of named tensors", where=str(path))
    for name, tensor in tensors.items():
        _require_name(name, path)
        if (
            tensor.layout != torch.strided
            or tensor.is_nested
            or tensor.device.type != "cpu"
            or tensor.dim() > MOST_DIMENSIONS
        ):
            raise WeightsError(f"refused: tensor {name!r} of {path.name} is not dense", where=str(path))
    return dict(tensors)


def _require_old_format(path: Path) -> None:
    """Refuse what does not begin as torch wrote files before 2020: reading it would only cost memory."""
    with path.open("rb") as file:
        start = file.read(len(OLD_FORMAT))
        if start != OLD_FORMAT:
            raise WeightsError(f"refused: {path.name} is no file of torch", where=str(path))
        for _ in range(3):  # version, machine, tensors; what comes behind are their values
            _require_few_steps(file, path)


def _require_few_steps(file: IO[bytes], path: Path) -> None:
    """Refuse a description of objects with more steps than any network's tensors need: each costs memory."""
    import pickletools

    steps = sum(1 for _ in itertools.islice(pickletools.genops(file), MOST_STEPS + 1))
    if steps > MOST_STEPS:
        raise WeightsError(f"refused: {path.name} describes more objects than tensors need", where=str(path))


def _require_plain_members(path: Path) -> None:
    """Refuse an archive that unpacks to more than it is: by compression, or by members that share their bytes.

    Raises:
        WeightsError: the member or the sum that shows it.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError(f"refused: {path.name} holds compressed members", where=str(path))
    total = sum(member.file_size for member in members)
    if len(members) > MOST_TENSORS or total > path.stat().st_size:
        raise WeightsError(
            f"refused: {path.name} lists {len(members):,} members of {total:,} bytes, more than the file has",
            where=str(path),
        )
    with zipfile.ZipFile(path) as archive:
        for member in members:
            if member.filename.endswith(".pkl"):
                with archive.open(member) as file:
                    _require_few_steps(file, path)
