"""A run repeated from what it left, and compared: the same numbers, or a list of what differs and what may be why."""

from __future__ import annotations

import contextlib
import datetime
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlcore.errors import UsageError, WeightsError
from tlcore.files.digests import file_digest
from tlcore.files.run_folder import BEGUN, RunFolder
from tlcore.files.untrusted import read_object, read_records
from tlcore.plugins.host import PluginHost
from tlcore.plugins.registry import Registry
from tlcore.recipe import read_recipe
from tlcore.runs.context import Progress, Result
from tlcore.runs.run import run
from tlcore.runs.state import differences

__all__ = ["Reproduction", "reproduce"]

COMPARED = ("model/model.safetensors", "predictions.parquet")
"""Files that are the same, byte for byte, where a run was repeated."""
SURROUNDINGS = ("tlcore", "versions", "plugins", "device", "processor", "processes", "precision")


@dataclass(frozen=True)
class Reproduction:
    """What repeating a run gave."""

    result: Result
    surroundings: list[str]
    """What it ran with that the first run did not: data, weights, versions, device, kernels, threads."""
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
    _require_comparable(folder)
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
        found = read_object(path)
    except WeightsError as error:
        raise WeightsError(
            f"{folder} holds no finished run: {error.what}",
            where=str(path),
            hint="give the folder of a finished run; `tl runs` lists them",
        ) from error
    place = found.get("place", "")
    if not isinstance(found.get("backbone", {}), dict) or not isinstance(place, str) or "\0" in place:
        raise WeightsError("the manifest is damaged: it does not say its backbone or its place", where=str(path))
    return found


def _require_comparable(folder: Path) -> None:
    """Refuse a run whose results cannot be read before minutes are spent on repeating it."""
    _metrics(folder)
    _history(folder)
    if absent := next((name for name in COMPARED if not (folder / name).is_file()), None):
        raise WeightsError(f"{folder} holds no finished run: there is no {absent}", where=str(folder))


def _surroundings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    weights = manifest.get("backbone", {}).get("digest")
    return {name: manifest.get(name) for name in SURROUNDINGS} | {"data": manifest.get("data"), "weights": weights}


def _different(first: Path, second: Path) -> list[str]:
    found = [f"metrics.{line}" for line in differences(_metrics(first), _metrics(second))]
    one, other = _history(first), _history(second)
    if one != other:
        at = next((n for n, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(one))
        found.append(f"history.jsonl: from epoch {at + 1} on")
    for name in COMPARED:
        if file_digest(first / name) != file_digest(second / name):
            found.append(f"{name}: other bytes")
    return found


def _metrics(folder: Path) -> dict[str, Any]:
    return read_object(folder / "metrics.json")


def _history(folder: Path) -> list[dict[str, Any]]:
    path = folder / "history.jsonl"
    return [{key: value for key, value in record.items() if key != "seconds"} for record in read_records(path)]
