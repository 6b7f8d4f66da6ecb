"""Resume a run that another process started: what must be unchanged, and the checkpoint to continue from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.errors import UsageError, WeightsError
from tlcore.files.run_folder import RunFolder
from tlcore.notes import note
from tlcore.recipe import Recipe
from tlcore.runs.state import differences, finished_epochs

if TYPE_CHECKING:
    from tlcore.distributed.team import Team
    from tlcore.training.checkpoints import Checkpoints
    from tlcore.training.state import ResumePoint

__all__ = ["ResumeContext", "threads_so_far"]


@dataclass(frozen=True)
class ResumeContext:
    """How a run to resume was started: what decided its results, if it came that far, and whether that may change."""

    identity: Mapping[str, Any] | None
    allow_changed: bool
    threads: Sequence[int] = ()
    """With how many each process has computed so far."""

    def require_same(self, identity: Mapping[str, Any]) -> None:
        """Compare what the run began with and what it goes on with.

        Raises:
            UsageError: something changed.
        """
        changed = differences(self.identity, identity) if self.identity else []
        if changed and not self.allow_changed:
            raise UsageError(
                "what the run began with has changed, so it would not become what it would have been",
                where="\n".join(changed),
                hint="bring that back, start a new run, or go on all the same with --allow-changed",
            )
        for line in changed:
            note(f"gone on with another {line}")

    def training(
        self,
        recipe: Recipe,
        files: RunFolder,
        checkpoints: Checkpoints,
        identity: Mapping[str, Any],
        team: Team,
        tell: Callable[[str], None],
    ) -> ResumePoint | None:
        """Return what is left of the training, None if nothing is; every process of the run goes on from the same.

        Raises:
            WeightsError: the newest checkpoint does not say where it stood.
        """
        from tlcore.training.checkpoints import Checkpoint
        from tlcore.training.state import ResumePoint

        if recipe.head.solver == "lbfgs":  # it takes seconds, and stands nowhere in between
            checkpoints.clear()
            files.write("history.jsonl", "")
            return None
        newest = checkpoints.find_newest() if team.leads else None
        told = json.loads(team.told(json.dumps([str(newest.folder), dict(newest.position)] if newest else None)))
        if told is None:
            tell("no checkpoint was written yet: the training begins")
            files.write("history.jsonl", "")
            return None
        folder, position = Path(told[0]), told[1]
        checkpoints.newest = Checkpoint(folder, position)
        if any(type(position.get(key)) is not int or position[key] < 0 for key in ("epoch", "batch")):
            raise WeightsError(
                "the checkpoint is damaged: it does not say where training stood",
                where=str(folder),
                hint="remove its folder to go on from the checkpoint before it, or start a new run",
            )
        history = finished_epochs(files.path, position["epoch"])
        files.write("history.jsonl", "".join(json.dumps(record) + "\n" for record in history))
        tell(f"resumed at step {position['step']} (epoch {position['epoch'] + 1}, batch {position['batch'] + 1})")
        other = self.identity is not None and self.identity.get("data") != identity["data"]
        return ResumePoint(checkpoints.newest, history, other_data=other)


def threads_so_far(resumed: ResumeContext | None) -> list[int]:
    """Return with how many threads each process of a run has computed, this one last; note where they differ."""
    import torch

    threads = [*(resumed.threads if resumed is not None else ()), torch.get_num_threads()]
    if len(set(threads)) > 1:
        note(
            f"this run has computed with other numbers of threads ({', '.join(map(str, threads))}): they add up in "
            "another order, so its last digits are not those of a run in one go"
        )
    return threads
