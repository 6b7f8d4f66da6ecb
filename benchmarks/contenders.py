"""How tlcore and its rivals take a turn: each as a process of its own, started in the same way."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contest import Contender, Settings, Taken
from benchmarks.machine import Cost, Process, observed, seconds_of

__all__ = ["KEPT_MEMORY", "Place", "absent", "tlcore_epoch", "tlcore_run"]

OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
KEPT_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}
"""With this glibc keeps the memory of big activations instead of handing it back to the kernel after each layer."""


class Place:
    """A folder in which contenders run, and the settings that all of them have."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings
        self._number = itertools.count()

    def fresh(self, kind: str) -> Path:
        """Return a path that nobody had before."""
        return self.folder / f"{kind}-{next(self._number)}"

    def rival(
        self, name: str, module: str, arguments: Sequence[str], *, epochs: int | None = None, note: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Contender:  # fmt: skip
        """Return a rival, ``benchmarks.rivals.<module>``, that prints what its epochs cost.

        With ``epochs`` its cost is that of the whole process with so many epochs, without the scoring of the test
        split; else that of its median epoch. What an epoch costs is the median of those after the first, which warms
        up, if it is not the only one.
        """
        measured = self.settings.measured_epochs
        if epochs is not None and measured < epochs:
            measured_note = f"x{epochs}, from {'one epoch' if measured == 1 else f'{measured} epochs'} measured"
            note = "; ".join(filter(None, [measured_note, note]))

        def turn() -> Taken:
            out = self.fresh("rival")
            process = observed(
                ["-m", f"benchmarks.rivals.{module}", *arguments, "--out", str(out)],
                threads=self.settings.threads,
                environment={**OFFLINE, **(environment or {})},
            )
            shutil.rmtree(out, ignore_errors=True)
            return _of_rival(process, epochs)

        return Contender(name, turn, note)

    def bare(
        self, name: str, module: str, arguments: Sequence[str], *, note: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Contender:  # fmt: skip
        """Return a rival that only computes, once: its cost is what it prints, without start and preparation."""

        def turn() -> Taken:
            process = observed(
                ["-m", f"benchmarks.rivals.{module}", *arguments],
                threads=self.settings.threads,
                environment={**OFFLINE, **(environment or {})},
            )
            return Taken(Cost(**_last_line(process)["forward"]), details={"process": vars(process.cost)})

        return Contender(name, turn, note)


def tlcore_run(place: Place, recipe: Mapping[str, Any], *, cache: Path | None = None) -> Taken:
    """Return what a whole `tl run` cost; the feature store is empty unless ``cache`` names one."""
    return _run(place, recipe, cache)[0]


def tlcore_epoch(place: Place, recipe: Mapping[str, Any], *, cache: Path | None = None) -> Taken:
    """Return what the median epoch of a `tl run` after the first cost, validation included.

    The wall time is the run's own, from history.jsonl; the processor time is read from outside whenever a line is
    added there.
    """
    taken, marks = _run(place, recipe, cache)
    walls = [record["seconds"] for record in taken.details["history"][1:]]
    seconds = [later - earlier for earlier, later in itertools.pairwise(marks)]
    cost = Cost(statistics.median(seconds), statistics.median(walls))
    return Taken(cost, taken.accuracy, taken.macro_f1, taken.tested, {**taken.details, "process": vars(taken.cost)})


def absent(module: str) -> str | None:
    """Return why a rival cannot take part, None if it can."""
    if importlib.util.find_spec(module) is None:
        return f"{module} is left out: it is not installed (pip install {module})"
    return None


def _run(place: Place, recipe: Mapping[str, Any], cache: Path | None) -> tuple[Taken, list[float]]:
    out, store = place.fresh("run"), cache or place.fresh("cache")
    # JSON is YAML too.
    path = place.fresh("recipe").with_suffix(".yaml")
    path.write_text(json.dumps(recipe), "utf-8")
    marks: list[float] = []

    def watch(process: int) -> None:
        lines = _lines(out / "history.jsonl")
        if lines > len(marks):
            marks.extend([seconds_of(process)] * (lines - len(marks)))

    process = observed(
        ["-m", "tlcore.cli", "run", str(path), "--json", "--out", str(out)],
        threads=place.settings.threads,
        environment={**OFFLINE, "TL_CACHE": str(store)},
        watch=watch,
    )
    answer = _last_line(process)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    history = [json.loads(line) for line in (out / "history.jsonl").read_text("utf-8").splitlines()]
    shutil.rmtree(out)
    if cache is None:
        shutil.rmtree(store, ignore_errors=True)
    test = answer["metrics"]["test"]
    details = {
        "phases": manifest["seconds"],
        "features": manifest["features"],
        "precision": manifest["precision"],
        "throughput": manifest["throughput"],
        "peak_anonymous": process.peak_anonymous,
        "history": [{"epoch": record["epoch"], "seconds": record["seconds"]} for record in history],
        "intervals": test.get("intervals"),
    }
    return Taken(process.cost, test.get("accuracy"), test.get("macro_f1"), test["n"], details), marks


def _of_rival(process: Process, epochs: int | None) -> Taken:
    said = _last_line(process)
    costs = [Cost(**epoch) for epoch in said["epochs"]]
    later = costs[1:] or costs
    usual = Cost(statistics.median(cost.cpu for cost in later), statistics.median(cost.wall for cost in later))
    if epochs is None:
        cost = usual
    else:
        rest = process.cost - Cost(**said["scoring"])
        missing = epochs - len(costs)
        cost = rest + usual.times(missing)
    details = {"process": vars(process.cost), "peak_anonymous": process.peak_anonymous, **said}
    return Taken(cost, said["accuracy"], said["macro_f1"], said["tested"], details)


def _last_line(process: Process) -> dict[str, Any]:
    return dict(json.loads(process.output.strip().splitlines()[-1]))


def _lines(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0
