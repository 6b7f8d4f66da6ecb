"""A run repeated from what it left, and compared: the same numbers, or a list of what differs and what may be why."""

from __future__ import annotations

import contextlib
import datetime
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.errors import UsageError, WeightsError
from tlcore.plugins import PluginHost
from tlcore.recipe import read_recipe
from tlcore.registry import Registry
from tlcore.run_folder import RunFolder
from tlcore.running import Progress, Result, run
from tlcore.unfinished import BEGUN, differences

__all__ = ["Reproduction", "reproduce"]

SURROUNDINGS = ("tlcore", "versions", "plugins", "device", "processes", "precision")


@dataclass(frozen=True)
class Reproduction:
    """What repeating a run gave."""

    result: Result
    surroundings: list[str]
    """What it ran with that the first run did not: data, weights, versions, device."""
    different: list[str]
    """In which numbers it differs; none where both are the same bit for bit."""


def reproduce(
    folder: str | Path,
    *,
    out: str | Path | None = None,
    registry: Registry | None = None,
    progress: Progress = lambda phase, done, total: None,
    warn: Callable[[str], None] = lambda text: print(text, file=sys.stderr),  # noqa: T201
) -> Reproduction:
    """Run the recipe of a finished run again, in the working directory it had, and compare.

    Compared are the history, the metrics, the predictions and the weights. The feature store serves both.

    Raises:
        TLError: it is not finished, or cannot be run again.
    """
    folder = Path(folder).resolve()
    before = _finished(folder)
    place = Path(before.get("place") or ".")
    target = Path(out).resolve() if out is not None else None
    registry = registry or Registry(PluginHost())
    with contextlib.chdir(place if place.is_dir() else Path()):
        recipe = read_recipe(folder / "recipe.yaml", registry)
        if target is None:
            target = RunFolder.made(None, folder.parent, datetime.datetime.now().astimezone()).path
        result = run(recipe, out=target, registry=registry, progress=progress, warn=warn)
    now = _finished(target)
    return Reproduction(result, differences(_surroundings(before), _surroundings(now)), _different(folder, target))


def _finished(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if (folder / BEGUN).is_file():
        raise UsageError(
            f"the run in {folder} is not finished", hint=f"finish it: tl run --resume {shlex.quote(str(folder))}"
        )
    try:
        found = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WeightsError(
            f"there is no finished run at {folder}",
            where=f"{path}: {error.strerror}",
            hint="give the folder of a finished run; `tl runs` lists them",
        ) from error
    except ValueError as error:
        raise WeightsError("the run's manifest is damaged", where=f"{path}: {error}", hint="start a new run") from error
    if not isinstance(found, dict):
        raise WeightsError("the manifest is no mapping", where=str(path))
    return found


def _surroundings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    weights = manifest.get("backbone", {}).get("digest")
    return {name: manifest.get(name) for name in SURROUNDINGS} | {"data": manifest.get("data"), "weights": weights}


def _different(first: Path, second: Path) -> list[str]:
    found = [f"metrics.{line}" for line in differences(_metrics(first), _metrics(second))]
    one, other = _history(first), _history(second)
    if one != other:
        at = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
        found.append(f"history.jsonl: from epoch {at + 1} on")
    for name in ("model/model.safetensors", "predictions.parquet"):
        if (first / name).read_bytes() != (second / name).read_bytes():
            found.append(f"{name}: other bytes")
    return found


def _metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text("utf-8")))


def _history(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "history.jsonl").read_text("utf-8").splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]
