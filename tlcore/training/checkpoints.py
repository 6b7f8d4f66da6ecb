"""Checkpoints, so that a killed run resumes: published as a whole, verified before they are read.

Each checkpoint is a folder of its own with everything that is needed; one rename makes it visible, and older ones are
removed only afterwards. It has no random state: order, dropout and augmentation follow from the position.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from tlcore.errors import ResourceError, WeightsError
from tlcore.files.atomic import MANIFEST, publish_copy, publish_folder, verify_folder
from tlcore.files.disk import room
from tlcore.files.tensors import write_tensors
from tlcore.files.untrusted import read_object
from tlcore.weights.loading import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoint", "Checkpoints", "Part", "Reference"]

KEPT = 2
"""Checkpoints that are kept: where the newest is damaged, there is one before it."""
SUFFIX = ".safetensors"


class Reference(enum.Enum):
    """In place of a part's tensors: where they are already."""

    MODEL = "the part `model` of the same checkpoint"
    UNCHANGED = "this part of the checkpoint before"


Part: TypeAlias = "Mapping[str, Tensor] | Reference"
"""One file of a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """One published checkpoint: its position (JSON), and tensors by part (``model``, ``best`` …)."""

    folder: Path
    position: Mapping[str, Any]

    @property
    def step(self) -> int:
        """The number of optimizer steps before it."""
        return int(self.position["step"])

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Return the tensors of a part.

        Raises:
            WeightsError: there is no such part, or it is damaged.
        """
        return read_tensors(self.folder / f"{part}{SUFFIX}")


class Checkpoints:
    """The newest two checkpoints of one run."""

    def __init__(self, folder: Path, *, writes: bool = True, warn: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self.newest: Checkpoint | None = None
        self._writes = writes
        self._warn = warn

    def save(self, position: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
        """Publish a checkpoint.

        What is the same within a checkpoint is linked; what is unchanged is copied, so that one damaged file never
        costs two checkpoints.

        Raises:
            ResourceError: the disk is full or cannot be written; the checkpoints before are as they were.
            WeightsError: an unchanged part was changed on the disk since it was written.
        """
        target = self.folder / f"step-{position['step']:09d}"
        before, checkpoint = self.newest, Checkpoint(target, dict(position))
        if before is not None and before.folder == target:  # no step was taken since
            return
        if not self._writes:  # another process of the run does, and comes to the same decisions
            self.newest = checkpoint
            return
        try:
            if target.exists():  # a damaged one that was skipped
                shutil.rmtree(target)
            publish_folder(target, lambda folder: _fill(folder, parts, before, position), {"position": dict(position)})
        except OSError as error:
            kept = f"; that of step {before.step} is valid" if before is not None else ""
            raise ResourceError(
                f"the checkpoint of step {position['step']} cannot be written: {error.strerror or error}{kept}",
                where=room(self.folder, _bytes(parts)),
                hint="free some space first",
            ) from error
        self.newest = checkpoint
        with contextlib.suppress(OSError):  # what cannot be removed now is removed with the next one
            self._remove_all_but(KEPT)

    def find_newest(self) -> Checkpoint | None:
        """Return the newest valid checkpoint of an earlier process, None if there are none; warn of damaged ones.

        Raises:
            WeightsError: there are some, and none is valid: to start again silently would hide that.
        """
        folders = self._folders()
        for folder in reversed(folders):
            try:
                checkpoint = Checkpoint(folder, _position(folder))
                verify_folder(folder)
            except WeightsError as damage:
                self._warn(f"{folder.name} is damaged ({damage.what}) and is not used")
                continue
            self.newest = checkpoint
            return checkpoint
        if folders:
            raise WeightsError(
                f"none of the {len(folders)} checkpoints of this run can be read",
                where=str(self.folder),
                hint="check the disk; to start this run again, remove that folder first",
            )
        return None

    def clear(self) -> None:
        """Remove all checkpoints of a finished run."""
        if self._writes:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-*")) if self.folder.is_dir() else []

    def _remove_all_but(self, count: int) -> None:
        assert self.newest is not None
        steps = sorted(path.name for path in self._folders() if path.name <= self.newest.folder.name)
        kept = set(steps[-count:])
        for path in [*self._folders(), *self.folder.glob(".step-*")]:  # hidden ones are unfinished
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _fill(folder: Path, parts: Mapping[str, Part], before: Checkpoint | None, position: Mapping[str, Any]) -> None:
    for name, part in parts.items():
        path = folder / f"{name}{SUFFIX}"
        if part is Reference.MODEL:
            _link(folder / f"model{SUFFIX}", path)
        elif part is Reference.UNCHANGED:
            _copy(before, path)
        else:
            tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in part.items()}
            write_tensors(path, tensors, {"step": str(position["step"])})


def _bytes(parts: Mapping[str, Part]) -> int:
    """Return how much is written; the rest is linked or copied."""
    return sum(tensor.nbytes for part in parts.values() if not isinstance(part, Reference) for tensor in part.values())


def _copy(before: Checkpoint | None, path: Path) -> None:
    """Copy a part of the checkpoint before, if it has the digest in its manifest."""
    if before is None:
        raise ValueError(f"no checkpoint before this one has the unchanged {path.name}")
    try:
        listed = json.loads((before.folder / MANIFEST).read_text("utf-8"))["files"][path.name]
        publish_copy(path, before.folder / path.name, str(listed["sha256"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, WeightsError) as error:
        raise WeightsError(
            f"{path.name} of the checkpoint of step {before.step} is gone or was changed since it was written",
            where=str(before.folder),
            hint="check the disk, then resume from the checkpoint before it with `tl run --resume`",
        ) from error


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:  # a file system without links
        shutil.copyfile(source, path)


def _position(folder: Path) -> dict[str, Any]:
    position = read_object(folder / MANIFEST).get("position")
    if not isinstance(position, dict):
        raise WeightsError(f"its {MANIFEST} has no position")
    if type(position.get("step")) is not int or position["step"] < 0:
        raise WeightsError(f"its {MANIFEST} has no step")
    return position
