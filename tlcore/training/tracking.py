"""Experiment trackers by name, through Accelerate; one that fails is muted, and the run goes on."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tlcore.mappings import flatten

__all__ = ["Trackers"]

PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "mlflow": ("mlflow",), "wandb": ("wandb",)}


class Trackers:
    """The trackers of one run."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        project: str,
        folder: Path,
        recipe: Mapping[str, Any],
        warn: Callable[[str], None],
    ) -> None:
        self._warn = warn
        self._running: dict[str, Any] = {}
        for name in names:
            if not any(importlib.util.find_spec(package) for package in PACKAGES[name]):
                self._mute(name, f'it is not installed: pip install "tlcore[{name}]"')
                continue
            self._guarded(name, partial(self._start, name, project, folder, recipe))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Log the values of an epoch."""
        for name, tracker in list(self._running.items()):
            self._guarded(name, partial(tracker.log, dict(values), step=step))

    def finish(self) -> None:
        """Finish every tracker, so that it writes what is left."""
        for name, tracker in list(self._running.items()):
            self._guarded(name, tracker.finish)

    def _start(self, name: str, project: str, folder: Path, recipe: Mapping[str, Any]) -> None:
        from accelerate import tracking

        kinds = {
            "tensorboard": lambda: tracking.TensorBoardTracker(project, logging_dir=str(folder / "tensorboard")),
            "mlflow": lambda: tracking.MLflowTracker(project, run_name=folder.name),
            "wandb": lambda: tracking.WandBTracker(project, name=folder.name, dir=str(folder)),
        }
        tracker = kinds[name]()
        tracker.start()
        plain = (int, float, str)  # what trackers take
        values = {key: value if isinstance(value, plain) else str(value) for key, value in flatten(recipe).items()}
        tracker.store_init_configuration(values)
        self._running[name] = tracker

    def _guarded(self, name: str, call: Callable[[], Any]) -> None:
        try:
            call()
        except (Exception, SystemExit) as error:  # whatever a tracker does, it is not worth a run
            lines = str(error).splitlines()
            self._mute(name, f"{type(error).__name__}: {lines[0] if lines else ''}")

    def _mute(self, name: str, reason: str) -> None:
        self._running.pop(name, None)
        self._warn(f"the tracker {name} is muted: {reason}")
