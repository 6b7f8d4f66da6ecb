"""Where training stands, kept so that a killed run goes on: published whole, verified before it is read.

Each checkpoint is a folder of its own with all that is needed; it becomes visible by one rename, and an older one goes
only afterwards. Nothing that was drawn by chance is in it: order, dropout and augmentation follow from the position.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.errors import ResourceError, WeightsError
from tlcore.files.atomic import MANIFEST, publish_copy, publish_folder, verify_folder
from tlcore.files.disk import room
from tlcore.files.tensors import write_tensors
from tlcore.files.untrusted import read_object
from tlcore.weights.loading import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AS_BEFORE", "Checkpoint", "Checkpoints"]

AS_BEFORE = "as before"
"""In place of tensors: those of the checkpoint before."""
KEPT = 2
"""So many are kept: where the newest is damaged, there is one before it."""
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """One published state of a training: where it stands (JSON), and tensors by part (``model``, ``best`` …)."""

    folder: Path
    position: Mapping[str, Any]

    @property
    def step(self) -> int:
        """How many optimizer steps were taken before it."""
        return int(self.position["step"])

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Return the tensors of a part.

        Raises:
            WeightsError: there is no such part, or it belongs to another step.
        """
        path = self.folder / f"{part}{SUFFIX}"
        if not path.is_file():
            raise WeightsError(f"the checkpoint has no {part}", where=str(self.folder))
        return read_tensors(path)


class Checkpoints:
    """The checkpoints of one run, the newest two of them."""

    def __init__(self, folder: Path, *, writes: bool = True, tell: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self.newest: Checkpoint | None = None
        self._writes = writes
        self._tell = tell

    def save(self, position: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor] | str]) -> None:
        """Publish where training stands.

        A part is its tensors, the name of a part with the same ones, or ``AS_BEFORE``. What is the same within a
        checkpoint is linked; what is as before is copied, so that damage of one file never costs two checkpoints.

        Raises:
            ResourceError: the disk is full or cannot be written; the checkpoints before are as they were.
            WeightsError: what is as before was changed on the disk since it was written.
        """
        target = self.folder / f"step-{position['step']:09d}"
        before, found = self.newest, Checkpoint(target, dict(position))
        if before is not None and before.folder == target:  # nothing was done since
            return
        if not self._writes:  # another process of the run does, and comes to the same decisions
            self.newest = found
            return
        try:
            if target.exists():  # a damaged one that was stepped over
                shutil.rmtree(target)
            publish_folder(target, lambda folder: _fill(folder, parts, before, position), {"position": dict(position)})
        except OSError as error:
            kept = f"; that of step {before.step} is valid" if before is not None else ""
            raise ResourceError(
                f"the checkpoint of step {position['step']} cannot be written: {error.strerror or error}{kept}",
                where=room(self.folder, _bytes(parts)),
                hint="free some space first",
            ) from error
        self.newest = found
        with contextlib.suppress(OSError):  # what cannot be swept now is swept with the next one
            self._remove_all_but(KEPT)

    def look(self) -> Checkpoint | None:
        """Find the newest sound checkpoint of an earlier process; tell of damaged ones and step over them.

        Raises:
            WeightsError: there are some, and none is sound: to begin anew in silence would hide that.
        """
        candidates, folders = [], self._folders()
        for path in folders:
            try:
                candidates.append(Checkpoint(path, _position(path)))
            except WeightsError as damage:
                self._tell(f"{path.name} is damaged ({damage.what}) and is not used")
        for found in sorted(candidates, key=lambda one: -one.step):
            try:
                verify_folder(found.folder)
            except WeightsError as damage:
                self._tell(f"{found.folder.name} is damaged ({damage.what}) and is not used")
                continue
            self.newest = found
            return found
        if folders:
            raise WeightsError(
                f"none of the {len(folders)} checkpoints of this run can be read",
                where=str(self.folder),
                hint="look at the disk; to begin this run from its start, remove that folder first",
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
        for path in [*self._folders(), *self.folder.glob(".step-*")]:  # the hidden ones were never finished
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _fill(
    folder: Path,
    parts: Mapping[str, Mapping[str, Tensor] | str],
    before: Checkpoint | None,
    position: Mapping[str, Any],
) -> None:
    for name, part in parts.items():
        path = folder / f"{name}{SUFFIX}"
        if isinstance(part, str):
            if part != AS_BEFORE:
                _link(folder / f"{part}{SUFFIX}", path)
            elif before is None:
                raise ValueError(f"there is no checkpoint before the one of step {position['step']}")
            else:
                _copy(before, path)
        else:
            tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in part.items()}
            write_tensors(path, tensors, {"step": str(position["step"])})


def _bytes(parts: Mapping[str, Mapping[str, Tensor] | str]) -> int:
    """Return how much is written anew; the rest is linked."""
    return sum(tensor.nbytes for part in parts.values() if not isinstance(part, str) for tensor in part.values())


def _copy(before: Checkpoint, path: Path) -> None:
    """Copy a part of the checkpoint before, if it is what its manifest says."""
    try:
        listed = json.loads((before.folder / MANIFEST).read_text("utf-8"))["files"][path.name]
        publish_copy(path, before.folder / path.name, str(listed["sha256"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError, WeightsError) as error:
        raise WeightsError(
            f"{path.name} of the checkpoint of step {before.step} is gone or was changed since it was written",
            where=str(before.folder),
            hint="look at the disk, then go on from the checkpoint before it with `tl run --resume`",
        ) from error


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source, path)
    except OSError:  # a file system without links
        shutil.copyfile(source, path)


def _position(folder: Path) -> dict[str, Any]:
    position = read_object(folder / MANIFEST).get("position")
    if not isinstance(position, dict):
        raise WeightsError(f"its {MANIFEST} does not say where training stood")
    if type(position.get("step")) is not int or position["step"] < 0:
        raise WeightsError(f"its {MANIFEST} does not say at which step training stood")
    return position
