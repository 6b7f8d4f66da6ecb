"""Runs on the disk, as their files tell of them; nothing heavy is imported and nothing in them is trusted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlcore.errors import UsageError, WeightsError, nearest
from tlcore.files.run_folder import BEGUN
from tlcore.files.untrusted import read_object

__all__ = ["StoredRun", "matches", "sorted_by", "stored_runs"]

DEEPEST = 3
FOREVER = 1e12
COLUMNS = ("name", "folder", "started", "status", "seconds", "task", "backbone", "adapter", "data", "score")
CONDITION = re.compile(r"(?P<key>[\w.\- ]+?)\s*(?P<sign>>=|<=|!=|=|>|<)\s*(?P<value>.*)")


@dataclass(frozen=True)
class StoredRun:
    """A run's folder and what its files say; ``fault`` is why there is no result."""

    folder: Path
    recipe: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None

    @property
    def chief(self) -> str | None:
        """The metric that chose the best epoch."""
        found = _section(self.metrics, "selection").get("metric")
        return found if isinstance(found, str) else None

    def value(self, key: str) -> Any:
        """Return what the run says of a key: a column, a metric (of the test split unless named), a recipe's key."""
        own = {
            "name": self.recipe.get("name"),
            "folder": str(self.folder),
            "started": self.manifest.get("started"),
            "status": self.fault or "finished",
            "seconds": self._seconds() if self.manifest else None,
            **{part: _short(_section(self.recipe, part).get("name")) for part in ("task", "backbone", "adapter")},
            "data": _short(_section(self.recipe, "data").get("source")),
            "score": _section(self.metrics, "test").get(self.chief or ""),
        }
        if key in own:
            return own[key]
        test = _section(self.metrics, "test")
        if key in test:
            return test[key]
        for section in (self.metrics, self.recipe, self.manifest):
            found: Any = section
            for word in key.split("."):
                found = found.get(word) if isinstance(found, Mapping) else None
            if found is not None:
                return found
        return None

    def _seconds(self) -> float:
        phases = _section(self.manifest, "seconds").values()
        return sum(one for one in phases if isinstance(one, (int, float)) and 0 <= one < FOREVER)


def stored_runs(folder: Path) -> Iterator[StoredRun]:
    """Yield every run in a folder or a few folders below it, in the order of paths.

    Raises:
        UsageError: no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="runs are in runs/ unless `tl run --out` said otherwise")
    for path in sorted(_folders(folder, DEEPEST)):
        yield _stored(path)


def matches(run: StoredRun, condition: str) -> bool:
    """Return whether a run fulfils ``KEY=VALUE``, or another comparison of =, !=, <, <=, > and >=.

    Raises:
        UsageError: it is no comparison.
    """
    found = CONDITION.fullmatch(condition.strip())
    if found is None:
        raise UsageError(
            f"--filter: {condition!r} is no comparison", hint="write KEY=VALUE or KEY>VALUE, such as macro_f1>0.9"
        )
    value, wanted, sign = run.value(found["key"].strip()), found["value"].strip(), found["sign"]
    if value is None:
        return sign == "!="
    numbers = _number(value), _number(wanted)
    if numbers[0] is not None and numbers[1] is not None:
        first: Any
        second: Any
        first, second = numbers
    else:
        first, second = str(value), wanted
    return {
        "=": first == second, "!=": first != second, ">": first > second, "<": first < second, ">=": first >= second,
        "<=": first <= second,
    }[sign]  # fmt: skip


def sorted_by(runs: list[StoredRun], key: str) -> list[StoredRun]:
    """Return runs by a key, ``-KEY`` the largest first; those without a value come last.

    Raises:
        UsageError: no run has such a key.
    """
    falling, name = key.startswith("-"), key.lstrip("-")
    known = [(run, run.value(name)) for run in runs]
    if name not in COLUMNS and all(value is None for _, value in known):
        names = {word for run in runs for word in _section(run.metrics, "test")} | set(COLUMNS)
        meant = nearest(name, names)
        raise UsageError(
            f"--sort: no run has {name!r}", hint=f"did you mean {meant!r}?" if meant else "a metric, or a recipe's key"
        )
    having = [(run, value) for run, value in known if value is not None]
    kinds = (str,) if any(_number(value) is None for _, value in having) else (float,)
    ordered = sorted(having, key=lambda pair: kinds[0](pair[1]), reverse=falling)
    return [run for run, _ in ordered] + [run for run, value in known if value is None]


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / "recipe.yaml").is_file() or (folder / "metrics.json").is_file():
        yield folder
        return
    if depth == 0:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield from _folders(Path(entry.path), depth - 1)


def _stored(folder: Path) -> StoredRun:
    files: dict[str, Mapping[str, Any]] = {}
    for name in ("metrics.json", "manifest.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            files[name] = read_object(path)
        except WeightsError as error:
            return StoredRun(folder, fault=f"damaged: {error.what}")
    about = {
        "recipe": _section(files.get("manifest.json", {}), "recipe") or {"name": folder.parent.name},
        "metrics": files.get("metrics.json", {}),
        "manifest": files.get("manifest.json", {}),
    }
    needed = ("metrics.json", "manifest.json", "model/artifact.json")
    missing = next((name for name in needed if not (folder / name).is_file()), None)
    fault = f"unfinished: no {missing}" if missing else None
    if (folder / BEGUN).is_file():
        fault = f"unfinished: tl run --resume {folder}"
    return StoredRun(folder, **about, fault=fault)


def _short(name: Any) -> str | None:
    return str(name).rsplit("/", 1)[-1] if name is not None else None


def _section(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
