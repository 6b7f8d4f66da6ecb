"""What every step of a run works with, and the result that a run returns."""

from __future__ import annotations

import contextlib
import copy
import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlcore.files.run_folder import RunFolder
from tlcore.plugins.host import PluginHost
from tlcore.recipe import Recipe, plain
from tlcore.runs.resume import ResumeContext
from tlcore.runs.signals import Stopping

if TYPE_CHECKING:
    from accelerate import Accelerator

    from tlcore.distributed.team import Team

__all__ = ["Clock", "Progress", "Result", "RunContext", "RunRequest", "RunSettings"]

Progress = Callable[[str, int, int], None]
"""Called with the name of a phase, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Result:
    """What a finished run gives: its folder, its metrics by split, its seconds, and what was computed or reused."""

    folder: Path
    metrics: Mapping[str, Any]
    seconds: float
    features: Mapping[str, int]


@dataclass
class Clock:
    """Seconds by phase, and since the start."""

    seconds: dict[str, float] = field(default_factory=dict)
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now().astimezone())
    _began: float = field(default_factory=time.perf_counter)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the seconds of a phase."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 3)

    def total(self) -> float:
        """Return the seconds since the start."""
        return round(time.perf_counter() - self._began, 3)


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """What a caller wants run: a recipe, where to, and whom to report to."""

    recipe: Recipe
    host: PluginHost
    progress: Progress
    warn: Callable[[str], None]
    stopping: Stopping
    out: Path | None = None
    """The run's folder; None: a new one below ``runs/``."""
    lock: Path | None = None
    """The lock file of the recipe's weights."""
    resumed: ResumeContext | None = None
    """How the run was started, if another process started it."""


@dataclass(frozen=True, kw_only=True)
class RunSettings(RunRequest):
    """A request in a process with its device, beside the other processes of the run."""

    accelerator: Accelerator
    team: Team
    clock: Clock

    @property
    def plain_recipe(self) -> dict[str, Any]:
        """The resolved recipe as it is written to YAML."""
        return plain(self.recipe)

    @property
    def started_here(self) -> dict[str, Any]:
        """Where the run was started, which resuming needs even if it is killed at once."""
        return {"place": str(Path.cwd()), "lock": str(self.lock.resolve()) if self.lock is not None else None}


@dataclass(frozen=True, kw_only=True)
class RunContext(RunSettings):
    """The settings of a run that has its folder."""

    files: RunFolder

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.files.path

    def notify(self, hook: str, event: Any) -> None:
        """Send an event to the plugins, in the main process; they get a copy, so they cannot change the run."""
        if self.team.leads:
            self.host.notify(hook, copy.deepcopy(event), self.warn)
